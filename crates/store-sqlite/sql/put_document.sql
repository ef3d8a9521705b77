INSERT INTO documents (
    project_id, kind, id, version, is_latest, deleted, name, body, created_at, updated_at, wake_at
)
VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8, ?9, ?10)
