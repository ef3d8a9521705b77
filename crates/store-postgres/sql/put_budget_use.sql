UPDATE budget_uses
SET spent_nano_usd = changed.spent_nano_usd, spent_tokens = changed.spent_tokens,
    spent_calls = changed.spent_calls, spent_millis = changed.spent_millis,
    reserved_nano_usd = changed.reserved_nano_usd, reserved_tokens = changed.reserved_tokens,
    reserved_calls = changed.reserved_calls, reserved_millis = changed.reserved_millis
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
    $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
    AS changed (project_id, budget, spent_nano_usd, spent_tokens, spent_calls, spent_millis,
        reserved_nano_usd, reserved_tokens, reserved_calls, reserved_millis)
WHERE budget_uses.project_id = changed.project_id AND budget_uses.budget = changed.budget
