SELECT near, numbers, ready FROM near_spaces WHERE space = $1 AND model = $2
