-- Heads whose link does not lead to the session's event of their version.
SELECT sessions.project_id, sessions.session_id, sessions.version, coalesce(ends.version, 0)
FROM sessions
LEFT JOIN journal AS ends
    ON ends.position = sessions.tail
    AND ends.project_id = sessions.project_id
    AND ends.session_id = sessions.session_id
WHERE ends.version IS NOT sessions.version
LIMIT ?1
