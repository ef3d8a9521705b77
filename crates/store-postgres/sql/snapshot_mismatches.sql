SELECT project_id, session_id, snapshots.version, coalesce(sessions.version, 0)
FROM snapshots
LEFT JOIN sessions USING (project_id, session_id)
WHERE sessions.version IS NULL OR snapshots.version > sessions.version OR snapshots.version < 1
LIMIT $1
