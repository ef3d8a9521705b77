INSERT INTO blob_stamps (project_id, blob, at) VALUES (?1, ?2, ?3)
ON CONFLICT DO UPDATE SET at = max(at, excluded.at)
