-- How many of the latest episodes of a space there are, and the numbers between which they lie.
SELECT count(*), max(episode), min(episode)
FROM (SELECT episode FROM episodes WHERE space = ?1 ORDER BY at DESC LIMIT ?2)
