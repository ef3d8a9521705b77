-- No row if the link to it is broken.
SELECT version, at, event, previous
FROM journal
WHERE position = ?1 AND project_id = ?2 AND session_id = ?3 AND version = ?4
