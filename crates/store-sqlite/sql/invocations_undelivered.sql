-- Invocations of an automation that reached no session.
SELECT id FROM documents
WHERE project_id = ?1 AND kind = ?2 AND name = ?3 AND is_latest = 1 AND json_extract(body, '$.session_id') IS NULL
