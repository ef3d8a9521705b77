SELECT project_id, kind, id, version
FROM documents
JOIN unnest($1::text[], $2::text[], $3::text[]) AS wanted (project_id, kind, id) USING (project_id, kind, id)
WHERE is_latest
