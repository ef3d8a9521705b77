DELETE FROM turns WHERE project_id = $1 AND session_id = $2
