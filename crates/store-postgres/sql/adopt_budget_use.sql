INSERT INTO budget_uses (project_id, budget, spent_nano_usd, spent_tokens, spent_calls, spent_millis,
    reserved_nano_usd, reserved_tokens, reserved_calls, reserved_millis)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (project_id, budget) DO UPDATE
SET spent_nano_usd = excluded.spent_nano_usd, spent_tokens = excluded.spent_tokens,
    spent_calls = excluded.spent_calls, spent_millis = excluded.spent_millis,
    reserved_nano_usd = excluded.reserved_nano_usd, reserved_tokens = excluded.reserved_tokens,
    reserved_calls = excluded.reserved_calls, reserved_millis = excluded.reserved_millis
