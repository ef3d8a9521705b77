-- The inner query stands alone, so that the rows come from the index of terms and are put in order afterwards.
SELECT episode
FROM (SELECT episode FROM episodes WHERE terms @> ARRAY[$1::text] OFFSET 0) AS found
ORDER BY episode DESC
LIMIT $2
