INSERT INTO receipts (project_id, key, digest, status, body, at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::bigint[])
