-- Episodes of a space, by their number, each with its neighbours on both sides, in the order of their places.
SELECT hit.episode, near.session_id, near.item_id, near.ordinal, near.at, near.speaker, near.name, near.text,
    near.labels, near.episode
FROM (
    SELECT episode, episodes.project_id, episodes.session_id, ordinal
    FROM episodes
    JOIN sessions USING (project_id, session_id)
    WHERE episode = ANY ($1::bigint[]) AND space = $2 AND NOT deleted
) AS hit
CROSS JOIN LATERAL (
    (
        SELECT * FROM episodes
        WHERE project_id = hit.project_id AND session_id = hit.session_id AND space = $2
            AND ordinal <= hit.ordinal
        ORDER BY ordinal DESC
        LIMIT $3::bigint + 1
    )
    UNION ALL
    (
        SELECT * FROM episodes
        WHERE project_id = hit.project_id AND session_id = hit.session_id AND space = $2
            AND ordinal > hit.ordinal
        ORDER BY ordinal
        LIMIT $3::bigint
    )
) AS near
ORDER BY hit.episode, near.ordinal
