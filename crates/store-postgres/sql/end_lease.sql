UPDATE nodes SET lease_until = least(lease_until, clock_timestamp()) WHERE node_id = $1
