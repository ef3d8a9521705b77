-- The index holds it all, and of one time the newest last.
SELECT at, episode FROM episodes
WHERE space = ?1 AND terms IS NULL AND at >= ?2 AND at < ?3
ORDER BY at DESC
LIMIT ?4
