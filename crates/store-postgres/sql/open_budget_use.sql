INSERT INTO budget_uses (project_id, budget, spent_nano_usd, spent_tokens, spent_calls, spent_millis,
    reserved_nano_usd, reserved_tokens, reserved_calls, reserved_millis)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
    $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
