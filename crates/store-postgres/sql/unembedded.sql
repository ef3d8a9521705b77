-- Episodes after a number without vectors of a model, each with the one of its space that was said right before it in
-- its session.
SELECT lacking.episode, near.session_id, near.item_id, near.ordinal, near.at, near.speaker, near.name, near.text,
    near.labels, near.project_id
FROM (
    SELECT episode, project_id, session_id, space, ordinal
    FROM episodes
    WHERE episode > $2
        AND NOT EXISTS (
            SELECT FROM episode_vectors
            WHERE episode_vectors.episode = episodes.episode AND episode_vectors.model = $1
        )
    ORDER BY episode
    LIMIT $3
) AS lacking
CROSS JOIN LATERAL (
    SELECT * FROM episodes
    WHERE project_id = lacking.project_id AND session_id = lacking.session_id AND space = lacking.space
        AND ordinal <= lacking.ordinal
    ORDER BY ordinal DESC
    LIMIT 2
) AS near
ORDER BY lacking.episode, near.ordinal DESC
