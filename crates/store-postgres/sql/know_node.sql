-- Gives each holder a row, so that what it holds is found when it is not alive. One whose lease has run out
-- looks as if it had just then, so that its row is not forgotten before this is committed.
INSERT INTO nodes (node_id, lease_until)
SELECT node_id, clock_timestamp() FROM unnest($1::text[]) AS known (node_id)
ON CONFLICT (node_id) DO UPDATE SET lease_until = greatest(nodes.lease_until, excluded.lease_until)
