DELETE FROM document_terms WHERE project_id = $1 AND kind = $2 AND id = $3
