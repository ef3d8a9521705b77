INSERT INTO audit_checkpoints (project_id, size, checkpoint) VALUES (?1, ?2, ?3)
