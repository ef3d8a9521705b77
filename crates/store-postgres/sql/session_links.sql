SELECT session_id, parent_id, $2 = ANY (metadata)
FROM sessions
WHERE project_id = $1
