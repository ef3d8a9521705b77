SELECT project_id, session_id, version, at, event FROM journal ORDER BY position
