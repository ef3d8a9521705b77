SELECT session_id, parent_id, coalesce(json_extract(metadata, '$.' || ?2) = ?3, 0)
FROM sessions
WHERE project_id = ?1
