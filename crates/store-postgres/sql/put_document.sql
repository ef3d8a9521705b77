INSERT INTO documents (
    project_id, kind, id, version, is_latest, deleted, name, body, created_at, updated_at, wake_at
)
SELECT *
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::boolean[], $6::boolean[], $7::text[], $8::text[],
    $9::bigint[], $10::bigint[], $11::bigint[]
)
