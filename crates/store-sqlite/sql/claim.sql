-- Unless a living node holds it.
UPDATE sessions
SET holder = ?3
WHERE project_id = ?1 AND session_id = ?2
    AND NOT EXISTS (SELECT 1 FROM nodes WHERE node_id = holder AND lease_until > ?4)
