INSERT INTO blobs (project_id, blob, payload, kept_at)
SELECT new.*, (extract(epoch FROM clock_timestamp()) * 1000)::bigint
FROM unnest($1::text[], $2::text[], $3::bytea[]) AS new
ON CONFLICT (project_id, blob) DO UPDATE SET kept_at = greatest(blobs.kept_at, excluded.kept_at)
