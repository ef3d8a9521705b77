-- Tells all nodes where this begins a lease: they have to share with one more.
WITH lease AS (
    SELECT FROM nodes WHERE node_id = $1 AND lease_until > clock_timestamp()
),
beat AS (
    INSERT INTO nodes (node_id, lease_until, schema, release)
    VALUES ($1, clock_timestamp() + $2::double precision * interval '1 millisecond', $3, $4)
    ON CONFLICT (node_id) DO UPDATE
    SET lease_until = excluded.lease_until, schema = excluded.schema, release = excluded.release
)
SELECT pg_notify($5, $6) WHERE NOT EXISTS (SELECT FROM lease)
