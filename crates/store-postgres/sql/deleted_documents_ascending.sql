SELECT id, version, name, body, created_at, updated_at, wake_at, deleted
FROM documents
WHERE project_id = $1 AND kind = $2 AND id > coalesce($3::text, '') AND is_latest AND deleted
ORDER BY id
LIMIT $4
