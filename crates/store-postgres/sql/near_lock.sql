-- One connection at a time builds; the number is this program's and means nothing.
SELECT pg_try_advisory_lock(7310579623)
