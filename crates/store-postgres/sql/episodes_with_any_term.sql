-- As `episodes_with_term.sql`, of any of several terms.
SELECT episode
FROM (SELECT episode FROM episodes WHERE terms && $1::text[] OFFSET 0) AS found
ORDER BY episode DESC
LIMIT $2
