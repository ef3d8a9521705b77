INSERT INTO migrations (number, name, digest, compatible_from) VALUES ($1, $2, $3, $4)
