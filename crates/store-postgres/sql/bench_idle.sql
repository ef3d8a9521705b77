-- Sessions with nothing to do, for measuring only.
INSERT INTO sessions (
    project_id, session_id, version, status, agent_id, agent_name, metadata,
    created_at, last_active_at, wake_at, deleted, holder
)
SELECT
    'proj_' || lpad('1', 32, '0'), 'sess_' || lpad(to_hex(number), 32, '0'), 1, 'idle',
    'agt_' || lpad('1', 32, '0'), NULL, '{}', 0, 0, NULL, FALSE, NULL
FROM generate_series($1::BIGINT, $2::BIGINT) AS number
