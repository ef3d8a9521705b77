SELECT project_id FROM audit_logs ORDER BY project_id
