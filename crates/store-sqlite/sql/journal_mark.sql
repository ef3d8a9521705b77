-- The condition on the remainder is that of the index.
SELECT version, position
FROM journal
WHERE project_id = ?1 AND session_id = ?2 AND version BETWEEN ?3 AND ?4 AND version % 64 = 0
ORDER BY version
LIMIT 1
