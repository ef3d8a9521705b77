SELECT hashes FROM audit_tiles WHERE project_id = ?1 AND level = ?2 AND tile = ?3
