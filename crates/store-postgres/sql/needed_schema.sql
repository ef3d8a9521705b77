-- The schema that a release must know to live with everything that was done.
SELECT coalesce(max(compatible_from), 0) FROM migrations
