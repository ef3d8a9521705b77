SELECT project_id, position, record FROM audit_unsealed ORDER BY position LIMIT $1
