-- The episodes of a space whose points are nearest, the nearest first, of equals the newer. An index is found by the
-- very numbers that it was made of, so they are written in.
SELECT episode
FROM (
    SELECT episode, point::halfvec({numbers}) <#> $1::real[]::halfvec({numbers}) AS distance
    FROM near_points
    WHERE near = {near}
    ORDER BY point::halfvec({numbers}) <#> $1::real[]::halfvec({numbers})
    LIMIT {points}
) AS points
GROUP BY episode
ORDER BY min(distance), episode DESC
LIMIT {hits}
