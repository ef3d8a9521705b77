-- Whether a space has so many episodes with vectors of a model, and no index of them.
SELECT NOT EXISTS (SELECT FROM near_spaces WHERE space = $1 AND model = $2 AND ready)
    AND (SELECT count(*) FROM (
        SELECT FROM episode_vectors WHERE space = $1 AND model = $2 LIMIT $3
    ) AS counted) = $3
