-- A blob sorts after every text.
SELECT id, version, name, body, created_at, updated_at, deleted, wake_at
FROM documents
WHERE project_id = ?1 AND kind = ?2 AND id < coalesce(?3, x'') AND is_latest = 1 AND deleted = 1
ORDER BY id DESC
LIMIT ?4
