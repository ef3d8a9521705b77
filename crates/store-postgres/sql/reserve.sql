INSERT INTO reservations (project_id, root_id, key, nano_usd)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
ON CONFLICT (project_id, root_id, key) DO UPDATE SET nano_usd = excluded.nano_usd
