DELETE FROM blob_stamps WHERE project_id = ?1 AND blob = ?2
