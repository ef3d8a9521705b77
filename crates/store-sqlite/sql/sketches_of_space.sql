SELECT sketches FROM episode_sketches
WHERE space = ?1 AND model = ?2
ORDER BY block DESC
