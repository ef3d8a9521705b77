-- Episodes after a number without vectors of a model.
SELECT episode FROM episodes
WHERE episode > ?2
    AND NOT EXISTS (
        SELECT 1 FROM episode_vectors
        WHERE episode_vectors.episode = episodes.episode AND episode_vectors.model = ?1
    )
ORDER BY episode
LIMIT ?3
