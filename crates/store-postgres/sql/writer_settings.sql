-- A commit is durable when it returns. A server that waits for more than its own disk keeps doing so.
SELECT set_config('synchronous_commit', 'on', FALSE)
WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');
-- Every statement finds its rows by key. Plans are made once; one made while a table was small must not read
-- it whole when it has grown.
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET jit = off;
SET default_transaction_isolation = 'read committed';
SET statement_timeout = '30s';
SET idle_in_transaction_session_timeout = '60s';
