INSERT INTO snapshots (project_id, session_id, version, bytes)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[])
ON CONFLICT (project_id, session_id) DO UPDATE SET version = excluded.version, bytes = excluded.bytes
