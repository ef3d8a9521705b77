INSERT INTO audit_tiles (project_id, level, tile, hashes) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (project_id, level, tile) DO UPDATE SET hashes = excluded.hashes
