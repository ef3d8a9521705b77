INSERT INTO sessions (
    project_id, session_id, version, status, agent_id, agent_name, metadata,
    created_at, last_active_at, wake_at, deleted, holder, tail, parent_id
)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, CASE WHEN ?10 IS NOT NULL THEN ?12 END, ?13, ?14)
ON CONFLICT DO NOTHING
