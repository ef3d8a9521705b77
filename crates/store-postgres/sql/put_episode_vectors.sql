-- Of episodes that are still what they were; tells their spaces.
INSERT INTO episode_vectors (episode, space, model, vectors)
SELECT episodes.episode, episodes.space, $1, put.vectors
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::bytea[])
    AS put (project_id, session_id, ordinal, text, vectors)
JOIN episodes USING (project_id, session_id, ordinal, text)
ON CONFLICT (episode) DO UPDATE SET model = excluded.model, vectors = excluded.vectors
RETURNING space
