DELETE FROM blobs
WHERE project_id = ?1 AND blob = ?2 AND coalesce(
    (SELECT at FROM blob_stamps WHERE project_id = ?1 AND blob = ?2), 0
) < ?3
