SELECT item
FROM items
WHERE project_id = $1 AND session_id = $2 AND ordinal < coalesce($3::bigint, 9223372036854775807) AND is_public
ORDER BY ordinal DESC
LIMIT $4
