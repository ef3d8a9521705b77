SELECT id, name FROM documents WHERE project_id = $1 AND kind = 'fork' AND name IS NOT NULL
