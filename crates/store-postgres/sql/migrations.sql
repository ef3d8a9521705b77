SELECT number, digest, compatible_from FROM migrations ORDER BY number
