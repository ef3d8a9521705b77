SELECT budget, spent_nano_usd, spent_tokens, spent_calls, spent_millis,
    reserved_nano_usd, reserved_tokens, reserved_calls, reserved_millis
FROM budget_uses
WHERE project_id = $1 AND budget = ANY ($2)
