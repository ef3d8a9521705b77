SELECT record FROM audit_records WHERE project_id = $1 AND number >= $2 ORDER BY number LIMIT $3
