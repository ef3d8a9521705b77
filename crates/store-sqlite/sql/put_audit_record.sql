INSERT INTO audit_records (project_id, number, record) VALUES (?1, ?2, ?3)
