-- As `near_size.sql`, before there was any index.
SELECT count(*) = $3 FROM (SELECT FROM episode_vectors WHERE space = $1 AND model = $2 LIMIT $3) AS counted
