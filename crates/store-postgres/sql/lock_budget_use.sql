SELECT project_id, budget, spent_nano_usd, spent_tokens, spent_calls, spent_millis,
    reserved_nano_usd, reserved_tokens, reserved_calls, reserved_millis
FROM budget_uses
JOIN unnest($1::text[], $2::text[]) AS wanted (project_id, budget) USING (project_id, budget)
ORDER BY project_id, budget
FOR NO KEY UPDATE OF budget_uses
