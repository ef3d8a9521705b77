-- Living nodes of releases that know no schema as new as this, and the seconds that their leases still run.
SELECT node_id, schema, release, ceil(extract(epoch FROM lease_until - clock_timestamp()))::bigint
FROM nodes
WHERE lease_until > clock_timestamp() AND schema < $1
ORDER BY node_id
