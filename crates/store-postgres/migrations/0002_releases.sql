-- What each node runs, so that a migration can tell whether one is alive that could not live with it. A release
-- that knows only the first schema does not say so, and one whose row was made for what it holds has not yet.
ALTER TABLE nodes ADD COLUMN schema INTEGER NOT NULL DEFAULT 1;
ALTER TABLE nodes ADD COLUMN release TEXT COLLATE "C";
