DELETE FROM budget_uses
WHERE project_id = $1 AND budget >= 'session/' || $2 || '/' AND budget < 'session/' || $2 || '0'
