SELECT project_id, key
FROM receipts
JOIN unnest($1::text[], $2::text[]) AS wanted (project_id, key) USING (project_id, key)
