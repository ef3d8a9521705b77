DELETE FROM items
USING unnest($1::text[], $2::text[], $3::bigint[]) AS gone (project_id, session_id, ordinal)
WHERE items.project_id = gone.project_id AND items.session_id = gone.session_id
    AND items.ordinal >= gone.ordinal
