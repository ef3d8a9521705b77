DELETE FROM audit_unsealed WHERE position = ?1 AND project_id = ?2
