DELETE FROM episodes WHERE project_id = ?1 AND session_id = ?2 AND ordinal BETWEEN ?3 AND ?4 RETURNING episode
