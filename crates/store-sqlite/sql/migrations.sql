SELECT number, digest FROM migrations ORDER BY number
