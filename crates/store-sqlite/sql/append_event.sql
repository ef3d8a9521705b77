INSERT INTO journal (project_id, session_id, version, at, event) VALUES (?1, ?2, ?3, ?4, ?5)
