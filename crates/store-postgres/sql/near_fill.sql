-- Makes points of vectors that have none, of episodes before a number; says where to go on. Vectors are held until
-- the end of the statement, so that none are replaced between being read and having their points.
WITH taken AS (
    SELECT episode, vectors, numbers
    FROM near_spaces
    JOIN episode_vectors USING (space, model)
    WHERE near = $1 AND episode < $2
        AND NOT EXISTS (SELECT FROM near_points WHERE near_points.episode = episode_vectors.episode)
    ORDER BY episode DESC
    LIMIT $3
    FOR SHARE OF episode_vectors
), made AS (
    INSERT INTO near_points (episode, place, near, point)
    SELECT episode, place, $1, point
    FROM taken, near_points_of(vectors, numbers)
    ON CONFLICT DO NOTHING
)
SELECT min(episode) FROM taken
