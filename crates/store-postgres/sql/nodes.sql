SELECT count(*) FROM nodes WHERE lease_until > clock_timestamp()
