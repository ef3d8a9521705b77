SELECT id
FROM document_terms
JOIN documents USING (project_id, kind, name, id)
WHERE project_id = $1 AND kind = $2 AND name = $3 AND term = $4 AND is_latest AND NOT deleted
ORDER BY id DESC
LIMIT $5
