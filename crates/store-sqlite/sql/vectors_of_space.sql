SELECT episode, vectors FROM episode_vectors
WHERE space = ?1 AND model = ?2
ORDER BY episode DESC
LIMIT ?3
