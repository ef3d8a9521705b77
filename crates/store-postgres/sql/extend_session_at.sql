-- Extends sessions that are where they are taken to be: at the expected version, and held by nobody else. One
-- that is not divides by zero, which undoes the whole transaction.
WITH extended AS (
    UPDATE sessions
    SET version = wanted.version, status = wanted.status, agent_id = wanted.agent_id,
        agent_name = wanted.agent_name, metadata = string_to_array(wanted.metadata, E'\n'),
        created_at = wanted.created_at, last_active_at = wanted.last_active_at, wake_at = wanted.wake_at,
        deleted = wanted.deleted,
        holder = CASE WHEN wanted.wake_at IS NOT NULL THEN coalesce(wanted.holder, sessions.holder) END
    FROM unnest(
        $1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::bigint[], $9::bigint[], $10::bigint[], $11::boolean[], $12::text[], $13::bigint[]
    ) AS wanted (
        project_id, session_id, version, status, agent_id, agent_name, metadata,
        created_at, last_active_at, wake_at, deleted, holder, expected
    )
    WHERE sessions.project_id = wanted.project_id AND sessions.session_id = wanted.session_id
        AND sessions.version = wanted.expected
        AND (wanted.holder IS NULL OR sessions.holder IS NULL OR sessions.holder = wanted.holder)
    RETURNING 1
)
SELECT 1 / (count(*) = cardinality($1::text[]))::integer FROM extended
