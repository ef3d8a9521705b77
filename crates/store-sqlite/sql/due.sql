SELECT project_id, session_id
FROM sessions
WHERE wake_at IS NOT NULL AND wake_at <= ?1
ORDER BY wake_at, project_id, session_id
LIMIT ?2
