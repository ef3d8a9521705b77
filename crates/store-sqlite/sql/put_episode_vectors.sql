-- Of an episode that is still what it was.
INSERT OR REPLACE INTO episode_vectors (episode, space, model, vectors)
SELECT episode, space, ?5, ?6
FROM episodes
WHERE project_id = ?1 AND session_id = ?2 AND ordinal = ?3 AND text = ?4
