SELECT DISTINCT session_id FROM episodes WHERE project_id = $1 AND user_name = $2
