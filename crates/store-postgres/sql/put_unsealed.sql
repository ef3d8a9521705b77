INSERT INTO audit_unsealed (project_id, record)
SELECT * FROM unnest($1::text[], $2::text[])
