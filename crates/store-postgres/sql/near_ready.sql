UPDATE near_spaces SET ready = TRUE WHERE near = $1
