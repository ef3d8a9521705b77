SELECT blob, payload IS NULL
FROM blobs
WHERE project_id = $1 AND blob = ANY ($2::text[]) AND kept_at < $3
ORDER BY blob
FOR UPDATE
