DELETE FROM episode_vectors WHERE episode = ?1 RETURNING space
