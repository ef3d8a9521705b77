DELETE FROM snapshots WHERE project_id = ?1 AND session_id = ?2
