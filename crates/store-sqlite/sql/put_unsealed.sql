INSERT INTO audit_unsealed (project_id, record) VALUES (?1, ?2)
