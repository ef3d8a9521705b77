-- No row if the link to it is broken. Without the event, which may be spread over many pages.
SELECT previous
FROM journal
WHERE position = ?1 AND project_id = ?2 AND session_id = ?3 AND version = ?4
