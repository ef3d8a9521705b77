SELECT project_id, blob, payload FROM blobs ORDER BY project_id, blob
