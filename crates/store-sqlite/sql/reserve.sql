INSERT INTO reservations (project_id, root_id, key, nano_usd) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (project_id, root_id, key) DO UPDATE SET nano_usd = excluded.nano_usd
