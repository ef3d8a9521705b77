DELETE FROM turns
USING unnest($1::text[], $2::text[], $3::text[]) AS gone (project_id, session_id, turn_id)
WHERE turns.project_id = gone.project_id AND turns.session_id = gone.session_id
    AND turns.turn_id = gone.turn_id
