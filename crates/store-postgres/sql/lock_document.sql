-- The row of version 1 never changes and stands for the document: whoever locks it sees, in the next
-- statement, the latest version and nobody writes another.
SELECT version
FROM documents
JOIN unnest($1::text[], $2::text[], $3::text[]) AS wanted (project_id, kind, id) USING (project_id, kind, id)
WHERE version = 1
ORDER BY project_id, kind, id
FOR NO KEY UPDATE OF documents
