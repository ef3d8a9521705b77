INSERT INTO budgets (project_id, root_id, limit_nano_usd, spent_nano_usd)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
