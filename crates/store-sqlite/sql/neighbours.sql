-- An episode of a space and its neighbours on both sides.
WITH hit AS (
    SELECT project_id, session_id, ordinal FROM episodes WHERE episode = ?1 AND space = ?2
)
SELECT session_id, item_id, ordinal, at, speaker, name, text, labels, episode
FROM (
    SELECT * FROM (
        SELECT episodes.* FROM episodes JOIN hit USING (project_id, session_id)
        WHERE episodes.ordinal <= hit.ordinal AND space = ?2
        ORDER BY episodes.ordinal DESC
        LIMIT ?3 + 1
    )
    UNION ALL
    SELECT * FROM (
        SELECT episodes.* FROM episodes JOIN hit USING (project_id, session_id)
        WHERE episodes.ordinal > hit.ordinal AND space = ?2
        ORDER BY episodes.ordinal
        LIMIT ?3
    )
)
ORDER BY ordinal
