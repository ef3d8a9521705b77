INSERT INTO nodes (node_id, lease_until)
VALUES ($1, clock_timestamp() + $2::double precision * interval '1 millisecond')
ON CONFLICT (node_id) DO UPDATE SET lease_until = excluded.lease_until
