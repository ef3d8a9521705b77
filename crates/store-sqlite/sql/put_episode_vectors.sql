-- Of an episode that is still what it was.
INSERT OR REPLACE INTO episode_vectors (episode, space, model, vectors, sketch)
SELECT episode, space, ?5, ?6, ?7
FROM episodes
WHERE project_id = ?1 AND session_id = ?2 AND ordinal = ?3 AND text = ?4
RETURNING space, episode
