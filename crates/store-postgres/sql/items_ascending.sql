SELECT item
FROM items
WHERE project_id = $1 AND session_id = $2 AND ordinal > coalesce($3::bigint, -1) AND is_public
ORDER BY ordinal
LIMIT $4
