SELECT project_id, session_id
FROM sessions
WHERE (project_id, session_id) > ($1, $2)
ORDER BY project_id, session_id
LIMIT $3
