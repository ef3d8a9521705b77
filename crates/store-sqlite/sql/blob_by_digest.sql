SELECT blob, payload FROM blobs WHERE project_id = ?1 AND blob >= ?2 AND blob < ?3 ORDER BY blob LIMIT 1
