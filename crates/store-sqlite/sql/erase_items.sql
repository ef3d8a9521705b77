DELETE FROM items WHERE project_id = ?1 AND session_id = ?2
