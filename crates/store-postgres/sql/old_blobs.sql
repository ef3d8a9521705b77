SELECT project_id, blob
FROM blobs
WHERE (project_id, blob) > ($1, $2) AND kept_at < $3
ORDER BY project_id, blob
LIMIT $4
