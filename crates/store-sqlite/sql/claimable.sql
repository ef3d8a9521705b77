-- Due, held by nobody or by another node whose lease has run out, and not among those the node leaves to others.
SELECT project_id, session_id
FROM sessions
WHERE wake_at IS NOT NULL AND wake_at <= ?2
    AND (
        holder IS NULL
        OR holder <> ?1 AND NOT EXISTS (
            SELECT 1 FROM nodes WHERE node_id = holder AND lease_until > ?3
        )
    )
    AND project_id || '/' || session_id NOT IN (SELECT value FROM json_each(?5))
ORDER BY wake_at, project_id, session_id
LIMIT ?4
