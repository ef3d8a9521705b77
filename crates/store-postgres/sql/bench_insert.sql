INSERT INTO rows (payload) VALUES ($1)
