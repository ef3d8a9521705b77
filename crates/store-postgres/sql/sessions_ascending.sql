SELECT session_id, status, agent_id, agent_name, metadata, created_at, last_active_at, wake_at, deleted,
    parent_id
FROM sessions
WHERE project_id = $1
    AND session_id > coalesce($2::text, '')
    AND NOT deleted
    AND parent_id IS NULL
    AND ($3::text IS NULL OR agent_id = $3)
    AND ($4::text IS NULL OR status = $4)
    AND metadata @> $5::text[]
ORDER BY session_id
LIMIT $6
