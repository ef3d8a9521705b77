SELECT id, version, name, body, created_at, updated_at, wake_at, deleted, project_id
FROM documents
WHERE kind = $1 AND wake_at IS NOT NULL AND wake_at <= $2 AND is_latest AND NOT deleted
ORDER BY wake_at, project_id, id
LIMIT $3
