-- Locked, so that its heartbeat waits until its session was taken or left.
SELECT lease_until > clock_timestamp() FROM nodes WHERE node_id = $1 FOR SHARE
