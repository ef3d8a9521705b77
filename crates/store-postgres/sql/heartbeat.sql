INSERT INTO nodes (node_id, lease_until, schema, release)
VALUES ($1, clock_timestamp() + $2::double precision * interval '1 millisecond', $3, $4)
ON CONFLICT (node_id) DO UPDATE
SET lease_until = excluded.lease_until, schema = excluded.schema, release = excluded.release
