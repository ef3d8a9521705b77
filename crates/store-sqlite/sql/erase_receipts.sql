DELETE FROM receipts WHERE project_id = ?1 AND (instr(key, ?2) > 0 OR instr(body, ?2) > 0)
