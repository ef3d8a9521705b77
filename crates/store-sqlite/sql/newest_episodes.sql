-- The index holds it all, and of one time the newest last.
SELECT at, episode FROM episodes
WHERE space = ?1 AND terms IS NULL
ORDER BY at DESC
LIMIT ?2
