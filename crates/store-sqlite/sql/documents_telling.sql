SELECT DISTINCT id
FROM documents
WHERE project_id = ?1 AND kind = ?2
    AND (id = ?3 OR id = ?4 OR instr(name, ?3) > 0 OR instr(body, ?3) > 0)
