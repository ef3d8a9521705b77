INSERT INTO document_terms (project_id, kind, name, term, id)
VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT DO NOTHING
