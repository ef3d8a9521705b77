DELETE FROM receipts WHERE project_id = $1 AND (strpos(key, $2) > 0 OR strpos(body, $2) > 0)
