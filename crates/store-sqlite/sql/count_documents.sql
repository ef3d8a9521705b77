SELECT count(*)
FROM (
    SELECT 1 FROM documents
    WHERE project_id = ?1 AND kind = ?2 AND name = ?3 AND is_latest = 1 AND deleted = 0
    LIMIT ?4
)
