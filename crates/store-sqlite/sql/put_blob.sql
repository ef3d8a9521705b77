INSERT INTO blobs (project_id, blob, payload) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING
