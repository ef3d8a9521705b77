SELECT episode, vectors FROM episode_vectors
WHERE episode BETWEEN ?1 AND ?2 AND space = ?3 AND model = ?4
