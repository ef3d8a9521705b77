INSERT INTO receipts (project_id, key, digest, status, body, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
