-- Whose terms are in the index now.
UPDATE episodes SET terms = NULL WHERE episode BETWEEN ?1 AND ?2 AND terms IS NOT NULL
