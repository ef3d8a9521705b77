INSERT INTO documents (
    project_id, kind, id, version, is_latest, deleted, name, body, created_at, updated_at, wake_at
)
VALUES (?1, ?2, ?3, 1, 1, 0, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (project_id, kind, id, version) DO UPDATE
SET name = excluded.name, body = excluded.body, created_at = excluded.created_at,
    updated_at = excluded.updated_at, wake_at = excluded.wake_at
