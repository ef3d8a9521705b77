INSERT INTO journal (project_id, session_id, version, previous, at, event)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
