-- Heads that disagree with their journal, and journals without a head.
SELECT sessions.project_id, sessions.session_id, sessions.version, coalesce(ends.version, 0)
FROM sessions
LEFT JOIN (
    SELECT project_id, session_id, max(version) AS version FROM journal GROUP BY project_id, session_id
) AS ends USING (project_id, session_id)
WHERE ends.version IS NOT sessions.version
UNION ALL
SELECT journal.project_id, journal.session_id, 0, max(journal.version)
FROM journal
LEFT JOIN sessions USING (project_id, session_id)
WHERE sessions.version IS NULL
GROUP BY journal.project_id, journal.session_id
LIMIT ?1
