DELETE FROM audit_unsealed WHERE position = ANY($1::bigint[]) AND project_id = $2 RETURNING position
