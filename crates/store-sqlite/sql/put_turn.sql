INSERT INTO turns (project_id, session_id, turn_id, turn) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT DO UPDATE SET turn = excluded.turn
