INSERT INTO items (project_id, session_id, ordinal, item_id, turn_id, is_public, item)
SELECT *
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::boolean[], $7::text[])
ON CONFLICT (project_id, session_id, item_id)
DO UPDATE SET turn_id = excluded.turn_id, is_public = excluded.is_public, item = excluded.item
