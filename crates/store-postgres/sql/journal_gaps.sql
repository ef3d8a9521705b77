SELECT project_id, session_id, count(*), min(version), max(version)
FROM journal
GROUP BY project_id, session_id
HAVING min(version) <> 1 OR max(version) <> count(*)
LIMIT $1
