UPDATE sessions SET holder = NULL WHERE project_id = $1 AND session_id = $2 AND holder = $3
