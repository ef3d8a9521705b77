-- The index holds it all.
SELECT episode, sketch FROM episode_vectors
WHERE space = ?1 AND model = ?2
ORDER BY episode DESC
LIMIT ?3
