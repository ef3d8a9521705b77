SELECT digest, status, body, at, project_id, key
FROM receipts
WHERE (project_id, key) > (?1, ?2)
ORDER BY project_id, key
LIMIT ?3
