DELETE FROM blobs WHERE project_id = $1 AND blob = ANY ($2::text[])
