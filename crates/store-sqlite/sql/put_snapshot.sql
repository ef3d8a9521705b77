INSERT INTO snapshots (project_id, session_id, version, bytes) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT DO UPDATE SET version = excluded.version, bytes = excluded.bytes
