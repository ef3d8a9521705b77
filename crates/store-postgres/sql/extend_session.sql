UPDATE sessions
SET version = extended.version, status = extended.status, agent_id = extended.agent_id,
    agent_name = extended.agent_name, metadata = string_to_array(extended.metadata, E'\n'),
    created_at = extended.created_at, last_active_at = extended.last_active_at, wake_at = extended.wake_at,
    deleted = extended.deleted, parent_id = extended.parent_id, holder = extended.holder
FROM unnest(
    $1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::bigint[], $9::bigint[], $10::bigint[], $11::boolean[], $12::text[], $13::text[]
) AS extended (
    project_id, session_id, version, status, agent_id, agent_name, metadata,
    created_at, last_active_at, wake_at, deleted, parent_id, holder
)
WHERE sessions.project_id = extended.project_id AND sessions.session_id = extended.session_id
