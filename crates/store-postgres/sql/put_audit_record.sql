INSERT INTO audit_records (project_id, number, record)
SELECT $1::text, * FROM unnest($2::bigint[], $3::text[])
