SELECT project_id, position, record
FROM audit_unsealed
WHERE project_id NOT IN (SELECT value FROM json_each(?1))
ORDER BY position
LIMIT ?2
