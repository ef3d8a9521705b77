DELETE FROM budgets WHERE project_id = ?1 AND root_id = ?2
