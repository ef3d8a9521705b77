SELECT blobs.project_id, blobs.blob
FROM blobs LEFT JOIN blob_stamps USING (project_id, blob)
WHERE (blobs.project_id, blobs.blob) > (?1, ?2) AND coalesce(blob_stamps.at, 0) < ?3
ORDER BY blobs.project_id, blobs.blob
LIMIT ?4
