-- Spaces that have no vectors of the model any more.
SELECT near FROM near_spaces
WHERE NOT EXISTS (
    SELECT FROM episode_vectors
    WHERE episode_vectors.space = near_spaces.space AND episode_vectors.model = near_spaces.model
)
