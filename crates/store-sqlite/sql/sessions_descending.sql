-- A blob sorts after every text.
SELECT session_id, status, agent_id, agent_name, metadata, created_at, last_active_at, wake_at, deleted,
    parent_id
FROM sessions
WHERE project_id = ?1
    AND session_id < coalesce(?2, x'')
    AND deleted = 0
    AND parent_id IS NULL
    AND (?3 IS NULL OR agent_id = ?3)
    AND (?4 IS NULL OR status = ?4)
    AND NOT EXISTS (
        SELECT 1
        FROM json_each(?5) AS wanted
        WHERE NOT EXISTS (
            SELECT 1
            FROM json_each(sessions.metadata) AS pair
            WHERE pair.key = wanted.key AND pair.value = wanted.value
        )
    )
ORDER BY session_id DESC
LIMIT ?6
