-- Only from the expected size on: whoever sealed in between is found out, and nobody waits for a lock.
INSERT INTO audit_logs (project_id, size)
SELECT $1::text, $2::bigint WHERE $3::bigint = 0 OR EXISTS (SELECT FROM audit_logs WHERE project_id = $1)
ON CONFLICT (project_id) DO UPDATE SET size = excluded.size WHERE audit_logs.size = $3::bigint
RETURNING size
