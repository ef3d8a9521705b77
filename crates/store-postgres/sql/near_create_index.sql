CREATE INDEX CONCURRENTLY near_points_{near} ON near_points
USING hnsw ((point::halfvec({numbers})) halfvec_ip_ops)
WHERE near = {near}
