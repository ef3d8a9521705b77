SELECT project_id, root_id, key, nano_usd
FROM reservations
JOIN unnest($1::text[], $2::text[]) AS wanted (project_id, root_id) USING (project_id, root_id)
