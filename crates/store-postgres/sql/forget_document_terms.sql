DELETE FROM document_terms
USING unnest($1::text[], $2::text[], $3::text[]) AS gone (project_id, kind, id)
WHERE document_terms.project_id = gone.project_id AND document_terms.kind = gone.kind
    AND document_terms.id = gone.id
