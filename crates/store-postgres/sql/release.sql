DELETE FROM reservations
USING unnest($1::text[], $2::text[], $3::text[]) AS released (project_id, root_id, key)
WHERE reservations.project_id = released.project_id AND reservations.root_id = released.root_id
    AND reservations.key = released.key
