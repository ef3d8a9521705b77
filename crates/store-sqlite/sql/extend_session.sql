-- A session without a moment to wake is held by nobody; a guest leaves the holder in place.
UPDATE sessions
SET version = ?3, status = ?4, agent_id = ?5, agent_name = ?6, metadata = ?7,
    created_at = ?8, last_active_at = ?9, wake_at = ?10, deleted = ?11, parent_id = ?14,
    holder = CASE WHEN ?10 IS NOT NULL THEN coalesce(?12, holder) END, tail = ?13
WHERE project_id = ?1 AND session_id = ?2 AND version = ?15
