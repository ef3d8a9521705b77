SELECT limit_nano_usd, spent_nano_usd, (
    SELECT coalesce(sum(nano_usd), 0)
    FROM reservations
    WHERE reservations.project_id = budgets.project_id AND reservations.root_id = budgets.root_id
)
FROM budgets
WHERE project_id = ?1 AND root_id = ?2
