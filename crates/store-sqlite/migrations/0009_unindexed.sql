-- Terms of episodes that are not in the index yet. Whoever says something waits for its row and not for the index, which
-- takes the terms of many episodes at once, in the order of their numbers: what is not in it has a greater number than
-- whatever is. `episodes_by_space` is part of the index and grows with it; it holds the column that it asks about, so that
-- its queries need no row.
ALTER TABLE episodes ADD COLUMN terms TEXT;
DROP INDEX episodes_by_space;
CREATE INDEX episodes_by_space ON episodes (space, at, terms) WHERE terms IS NULL;
