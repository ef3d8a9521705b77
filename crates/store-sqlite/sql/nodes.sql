SELECT count(*) FROM nodes WHERE lease_until > ?1
