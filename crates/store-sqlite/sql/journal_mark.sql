-- The condition on the version is that of the index.
SELECT version, position
FROM journal
WHERE project_id = ?1 AND session_id = ?2 AND version >= ?3 AND version % 64 = 0
ORDER BY version
LIMIT 1
