-- Due, and held by nobody, or by another node whose lease has run out. Such nodes stay locked, so that a
-- heartbeat comes before or after this and not in between; what another node is about to claim is skipped,
-- as is what the node leaves to others.
WITH dead AS (
    SELECT node_id
    FROM nodes
    WHERE lease_until <= clock_timestamp() AND node_id <> $1
    FOR SHARE SKIP LOCKED
),
free AS (
    SELECT project_id, session_id, wake_at
    FROM sessions
    WHERE holder IS NULL AND wake_at IS NOT NULL AND wake_at <= $2
        AND project_id || '/' || session_id <> ALL ($4::text[])
    ORDER BY wake_at, project_id, session_id
    LIMIT $3
    FOR NO KEY UPDATE SKIP LOCKED
),
orphaned AS (
    SELECT project_id, session_id, wake_at
    FROM dead
    CROSS JOIN LATERAL (
        SELECT project_id, session_id, wake_at
        FROM sessions
        WHERE holder = dead.node_id AND wake_at IS NOT NULL AND wake_at <= $2
            AND project_id || '/' || session_id <> ALL ($4::text[])
        ORDER BY wake_at, project_id, session_id
        LIMIT $3
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS held
),
due AS (
    SELECT project_id, session_id, wake_at FROM free
    UNION ALL
    SELECT project_id, session_id, wake_at FROM orphaned
    ORDER BY wake_at, project_id, session_id
    LIMIT $3
)
UPDATE sessions
SET holder = $1
FROM due
WHERE sessions.project_id = due.project_id AND sessions.session_id = due.session_id
RETURNING sessions.project_id, sessions.session_id, sessions.wake_at
