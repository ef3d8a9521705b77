-- The tilde sorts after the underscore of every turn id.
SELECT turn
FROM turns
WHERE project_id = $1 AND session_id = $2 AND turn_id < coalesce($3::text, 'turn~')
ORDER BY turn_id DESC
LIMIT $4
