-- From its commit on, vectors of the space are kept with their points.
INSERT INTO near_spaces (space, model, numbers)
SELECT space, model, numbers
FROM (
    SELECT space, model, get_byte(vectors, 0) + 256 * get_byte(vectors, 1) AS numbers
    FROM episode_vectors WHERE space = $1 AND model = $2
    ORDER BY episode DESC
    LIMIT 1
) AS newest
WHERE numbers <= $3
ON CONFLICT DO NOTHING
