SELECT project_id, session_id, version FROM sessions WHERE holder = ?1
