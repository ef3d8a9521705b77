SELECT spent_nano_usd, spent_tokens, spent_calls, spent_millis,
    reserved_nano_usd, reserved_tokens, reserved_calls, reserved_millis, project_id, budget
FROM budget_uses
WHERE (project_id, budget) > (?1, ?2)
ORDER BY project_id, budget
LIMIT ?3
