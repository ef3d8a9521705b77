-- An episode, and the one of its space that was said right before it in its session. Its place is asked for by value,
-- so that the index is read backwards from there.
SELECT session_id, item_id, ordinal, at, speaker, name, text, labels, project_id
FROM episodes
WHERE project_id = (SELECT project_id FROM episodes WHERE episode = ?1)
    AND session_id = (SELECT session_id FROM episodes WHERE episode = ?1)
    AND space = (SELECT space FROM episodes WHERE episode = ?1)
    AND ordinal <= (SELECT ordinal FROM episodes WHERE episode = ?1)
ORDER BY ordinal DESC
LIMIT 2
