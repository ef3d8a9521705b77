-- Whether an index is there, and whether it was built to its end.
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)
