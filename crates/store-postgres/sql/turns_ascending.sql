SELECT turn
FROM turns
WHERE project_id = $1 AND session_id = $2 AND turn_id > coalesce($3::text, '')
ORDER BY turn_id
LIMIT $4
