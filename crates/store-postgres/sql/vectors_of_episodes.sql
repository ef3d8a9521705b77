SELECT episode, vectors FROM episode_vectors
WHERE episode = ANY ($1::bigint[]) AND space = $2 AND model = $3
