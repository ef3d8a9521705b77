SELECT id, version, name, body, created_at, updated_at, deleted, wake_at
FROM documents
WHERE project_id = ?1 AND kind = ?2 AND id = ?3 AND is_latest = 1 AND deleted = 0
