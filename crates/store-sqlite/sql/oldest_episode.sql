SELECT episode FROM episodes WHERE space = ?1 ORDER BY at LIMIT 1
