INSERT INTO bare (text) VALUES (?1)
