UPDATE sessions SET holder = $3 WHERE project_id = $1 AND session_id = $2
