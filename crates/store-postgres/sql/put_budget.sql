UPDATE budgets
SET limit_nano_usd = changed.limit_nano_usd, spent_nano_usd = changed.spent_nano_usd
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
    AS changed (project_id, root_id, limit_nano_usd, spent_nano_usd)
WHERE budgets.project_id = changed.project_id AND budgets.root_id = changed.root_id
