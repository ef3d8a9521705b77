SELECT count(*) FROM (SELECT 1 FROM episodes WHERE space = ?1 LIMIT ?2)
