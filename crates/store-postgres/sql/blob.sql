SELECT payload FROM blobs WHERE project_id = $1 AND blob = $2
