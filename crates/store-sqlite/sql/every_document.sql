SELECT id, version, name, body, created_at, updated_at, deleted, wake_at, project_id, kind
FROM documents
WHERE (project_id, kind, id, version) > (?1, ?2, ?3, ?4)
ORDER BY project_id, kind, id, version
LIMIT ?5
