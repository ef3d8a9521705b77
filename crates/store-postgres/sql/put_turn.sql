INSERT INTO turns (project_id, session_id, turn_id, turn)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
ON CONFLICT (project_id, session_id, turn_id) DO UPDATE SET turn = excluded.turn
