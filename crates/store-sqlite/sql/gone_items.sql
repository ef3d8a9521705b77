DELETE FROM items WHERE project_id = ?1 AND session_id = ?2 AND ordinal >= ?3
