INSERT INTO audit_tiles (project_id, level, tile, hashes)
SELECT $1::text, * FROM unnest($2::bigint[], $3::bigint[], $4::bytea[])
ON CONFLICT (project_id, level, tile) DO UPDATE SET hashes = excluded.hashes
