-- A commit is durable when it returns: the log is synced at every commit. The log is copied back into the
-- database when it reaches 16 MiB (4096 pages), so that the copy is amortised and the log stays small.
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 4096;
PRAGMA cache_size = -32768;
PRAGMA trusted_schema = OFF;
