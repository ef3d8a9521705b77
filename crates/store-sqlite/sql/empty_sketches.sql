DELETE FROM episode_sketches WHERE space = ?1 AND block = ?2
