SELECT size FROM audit_logs WHERE project_id = ?1
