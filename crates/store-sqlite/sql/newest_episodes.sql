-- The index holds it all.
SELECT episode FROM episodes WHERE space = ?1 ORDER BY at DESC LIMIT ?2
