SELECT digest, status, body, at FROM receipts WHERE project_id = $1 AND key = $2
