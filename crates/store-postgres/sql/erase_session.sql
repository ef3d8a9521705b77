DELETE FROM sessions WHERE project_id = $1 AND session_id = $2
