-- Heads that disagree with their journal, and journals without a head.
SELECT project_id, session_id, coalesce(sessions.version, 0), coalesce(ends.version, 0)
FROM sessions
FULL JOIN (
    SELECT project_id, session_id, max(version) AS version FROM journal GROUP BY project_id, session_id
) AS ends USING (project_id, session_id)
WHERE ends.version IS DISTINCT FROM sessions.version
LIMIT $1
