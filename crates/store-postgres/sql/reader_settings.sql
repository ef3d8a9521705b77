SELECT set_config('synchronous_commit', 'on', FALSE)
WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');
SET enable_seqscan = off;
SET jit = off;
SET default_transaction_isolation = 'read committed';
SET statement_timeout = '30s';
SET idle_in_transaction_session_timeout = '60s';
-- Of pgvector, where the server has it: the points that an index looks for.
SET hnsw.ef_search = 400;
