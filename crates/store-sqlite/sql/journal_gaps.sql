-- Events whose link does not lead to the event before them: gaps, broken links, and versions that are none.
SELECT event.project_id, event.session_id, event.version, event.position
FROM journal AS event
LEFT JOIN journal AS before
    ON before.position = event.previous
    AND before.position < event.position
    AND before.project_id = event.project_id
    AND before.session_id = event.session_id
    AND before.version = event.version - 1
WHERE CASE event.version WHEN 1 THEN event.previous IS NOT NULL ELSE before.position IS NULL END
LIMIT ?1
