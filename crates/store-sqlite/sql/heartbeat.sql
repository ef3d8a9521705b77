INSERT INTO nodes (node_id, lease_until) VALUES (?1, ?2)
ON CONFLICT (node_id) DO UPDATE SET lease_until = excluded.lease_until
