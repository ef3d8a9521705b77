SELECT id, version, name, body, created_at, updated_at, deleted, wake_at
FROM documents
WHERE project_id = ?1 AND kind = ?2 AND id > coalesce(?3, '') AND is_latest = 1 AND deleted = 1
ORDER BY id
LIMIT ?4
