SELECT version, at, event
FROM journal
WHERE project_id = $1 AND session_id = $2 AND version > $3
ORDER BY version
LIMIT $4
