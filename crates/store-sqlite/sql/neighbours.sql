-- An episode of a space and its neighbours on both sides, in no order. Its place is asked for by value, so that each
-- side is read along the index and ends where enough are found; joined, everything its session said would be read and
-- sorted.
SELECT * FROM (
    SELECT session_id, item_id, ordinal, at, speaker, name, text, labels, episode FROM episodes
    WHERE project_id = (SELECT project_id FROM episodes WHERE episode = ?1 AND space = ?2)
        AND session_id = (SELECT session_id FROM episodes WHERE episode = ?1 AND space = ?2)
        AND ordinal <= (SELECT ordinal FROM episodes WHERE episode = ?1 AND space = ?2)
        AND space = ?2
    ORDER BY ordinal DESC
    LIMIT ?3 + 1
)
UNION ALL
SELECT * FROM (
    SELECT session_id, item_id, ordinal, at, speaker, name, text, labels, episode FROM episodes
    WHERE project_id = (SELECT project_id FROM episodes WHERE episode = ?1 AND space = ?2)
        AND session_id = (SELECT session_id FROM episodes WHERE episode = ?1 AND space = ?2)
        AND ordinal > (SELECT ordinal FROM episodes WHERE episode = ?1 AND space = ?2)
        AND space = ?2
    ORDER BY ordinal
    LIMIT ?3
)
