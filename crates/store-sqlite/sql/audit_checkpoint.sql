SELECT size, checkpoint FROM audit_checkpoints WHERE project_id = ?1 AND size <= ?2 ORDER BY size DESC LIMIT 1
