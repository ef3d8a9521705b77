-- One process migrates at a time; the number is this program's and means nothing.
SELECT pg_advisory_xact_lock(7310579622)
