SELECT project_id, session_id, ordinal FROM episodes WHERE episode = ?1 AND space = ?2
