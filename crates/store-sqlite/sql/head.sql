SELECT session_id, status, agent_id, agent_name, metadata, created_at, last_active_at, wake_at, deleted,
    parent_id
FROM sessions
WHERE project_id = ?1 AND session_id = ?2
