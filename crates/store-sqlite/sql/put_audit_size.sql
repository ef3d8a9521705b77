INSERT INTO audit_logs (project_id, size) VALUES (?1, ?2)
ON CONFLICT (project_id) DO UPDATE SET size = excluded.size
