-- The index holds it all.
SELECT at, episode FROM episodes
WHERE space = ?1 AND terms IS NULL
ORDER BY at DESC, episode DESC
LIMIT ?2
