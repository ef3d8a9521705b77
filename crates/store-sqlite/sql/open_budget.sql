INSERT INTO budgets (project_id, root_id, limit_nano_usd, spent_nano_usd) VALUES (?1, ?2, NULL, 0)
ON CONFLICT DO NOTHING
