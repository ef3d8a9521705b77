-- A blob sorts after every text.
SELECT turn
FROM turns
WHERE project_id = ?1 AND session_id = ?2 AND turn_id < coalesce(?3, x'')
ORDER BY turn_id DESC
LIMIT ?4
