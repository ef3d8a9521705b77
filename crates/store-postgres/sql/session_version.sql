-- Locks the sessions of a batch in the order of their keys, so that two batches cannot wait for each other.
SELECT project_id, session_id, version, holder
FROM sessions
JOIN unnest($1::text[], $2::text[]) AS wanted (project_id, session_id) USING (project_id, session_id)
ORDER BY project_id, session_id
FOR NO KEY UPDATE OF sessions
