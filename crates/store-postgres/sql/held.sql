SELECT project_id, session_id, version FROM sessions WHERE holder = $1 ORDER BY project_id, session_id
