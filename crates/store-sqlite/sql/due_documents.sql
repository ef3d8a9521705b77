SELECT id, version, name, body, created_at, updated_at, deleted, wake_at, project_id
FROM documents
WHERE kind = ?1 AND wake_at IS NOT NULL AND wake_at <= ?2 AND is_latest = 1 AND deleted = 0
ORDER BY wake_at, project_id, id
LIMIT ?3
