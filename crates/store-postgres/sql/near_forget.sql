DELETE FROM near_spaces WHERE near = $1
