SELECT set_config('synchronous_commit', 'on', FALSE)
WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');
SET enable_seqscan = off;
SET jit = off;
SET default_transaction_isolation = 'read committed';
SET statement_timeout = '30s';
SET idle_in_transaction_session_timeout = '60s';
