UPDATE documents
SET is_latest = FALSE
FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (project_id, kind, id)
WHERE documents.project_id = wanted.project_id AND documents.kind = wanted.kind AND documents.id = wanted.id
    AND documents.is_latest
