-- Nothing durable is written here: telling others need not wait for the disk.
SET synchronous_commit = off;
SET jit = off;
SET statement_timeout = '30s';
