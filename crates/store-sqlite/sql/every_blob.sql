SELECT project_id, blob
FROM blobs
WHERE (project_id, blob) > (?1, ?2)
ORDER BY project_id, blob
LIMIT ?3
