-- Invocations of an automation that reached no session.
SELECT id FROM documents
WHERE project_id = $1 AND kind = $2 AND name = $3 AND is_latest AND strpos(body, '"session_id":"') = 0
