SELECT project_id, position, record
FROM audit_unsealed
WHERE project_id <> ALL($1::text[])
ORDER BY position
LIMIT $2
