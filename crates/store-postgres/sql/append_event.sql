INSERT INTO journal (project_id, session_id, version, at, event)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[])
