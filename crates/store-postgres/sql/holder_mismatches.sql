-- Sessions whose holder has no lease, not even one that ran out: nobody would ever claim them.
SELECT project_id, session_id, holder
FROM sessions
LEFT JOIN nodes ON nodes.node_id = sessions.holder
WHERE holder IS NOT NULL AND nodes.node_id IS NULL
LIMIT $1
