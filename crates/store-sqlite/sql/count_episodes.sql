SELECT count(*) FROM (SELECT 1 FROM episodes WHERE space = ?1 AND terms IS NULL LIMIT ?2)
