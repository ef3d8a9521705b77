SELECT project_id, root_id, limit_nano_usd, spent_nano_usd
FROM budgets
JOIN unnest($1::text[], $2::text[]) AS wanted (project_id, root_id) USING (project_id, root_id)
ORDER BY project_id, root_id
FOR NO KEY UPDATE OF budgets
