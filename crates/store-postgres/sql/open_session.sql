INSERT INTO sessions (
    project_id, session_id, version, status, agent_id, agent_name, metadata,
    created_at, last_active_at, wake_at, deleted, parent_id, holder
)
SELECT
    project_id, session_id, version, status, agent_id, agent_name, string_to_array(metadata, E'\n'),
    created_at, last_active_at, wake_at, deleted, parent_id, holder
FROM unnest(
    $1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::bigint[], $9::bigint[], $10::bigint[], $11::boolean[], $12::text[], $13::text[]
) AS opened (
    project_id, session_id, version, status, agent_id, agent_name, metadata,
    created_at, last_active_at, wake_at, deleted, parent_id, holder
)
