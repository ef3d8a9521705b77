-- What was said up to a place and there, in the session and space.
SELECT session_id, item_id, ordinal, at, speaker, name, text, labels, episode FROM episodes
WHERE project_id = ?1 AND session_id = ?2 AND ordinal <= ?3 AND space = ?4
ORDER BY ordinal DESC
LIMIT ?5
