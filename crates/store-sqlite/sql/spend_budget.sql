UPDATE budgets SET spent_nano_usd = spent_nano_usd + ?3 WHERE project_id = ?1 AND root_id = ?2
