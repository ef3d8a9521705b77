-- Nodes that are long gone and hold nothing.
DELETE FROM nodes
WHERE lease_until < clock_timestamp() - interval '10 minutes'
    AND NOT EXISTS (SELECT 1 FROM sessions WHERE holder = node_id)
