SELECT DISTINCT session_id FROM episodes WHERE project_id = ?1 AND user = ?2
