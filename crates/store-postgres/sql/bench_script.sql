INSERT INTO rows (payload) VALUES (convert_to(repeat('x', 1024), 'UTF8'));
