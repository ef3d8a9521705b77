WITH held AS (
    SELECT project_id, session_id
    FROM sessions
    WHERE holder = $1
    ORDER BY project_id, session_id
    FOR NO KEY UPDATE
)
UPDATE sessions
SET holder = NULL
FROM held
WHERE sessions.project_id = held.project_id AND sessions.session_id = held.session_id
