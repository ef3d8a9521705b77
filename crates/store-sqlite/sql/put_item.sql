INSERT INTO items (project_id, session_id, ordinal, item_id, turn_id, is_public, item)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (project_id, session_id, item_id)
DO UPDATE SET turn_id = excluded.turn_id, is_public = excluded.is_public, item = excluded.item
