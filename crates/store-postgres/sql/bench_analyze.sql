ANALYZE sessions
