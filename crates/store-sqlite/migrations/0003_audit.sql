-- Audit logs. Records come with the events they tell of and wait here until they are sealed: until they are in
-- the log of their project, under a signed checkpoint.
CREATE TABLE audit_unsealed (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;

-- How many records each log has.
CREATE TABLE audit_logs (
    project_id TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Records by their number in the log, from zero: canonical JSON, whose bytes are hashed.
CREATE TABLE audit_records (
    project_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (project_id, number)
) STRICT;

-- The tree of each log: up to 256 hashes a row.
CREATE TABLE audit_tiles (
    project_id TEXT NOT NULL,
    level INTEGER NOT NULL,
    tile INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (project_id, level, tile)
) STRICT;

CREATE TABLE audit_checkpoints (
    project_id TEXT NOT NULL,
    size INTEGER NOT NULL,
    checkpoint TEXT NOT NULL,
    PRIMARY KEY (project_id, size)
) STRICT;
