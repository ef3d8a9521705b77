SELECT vectors FROM episode_vectors WHERE episode = ?1 AND space = ?2 AND model = ?3
