-- Audit logs. Records come with the events they tell of and wait here until they are sealed: until they are in
-- the log of their project, under a signed checkpoint. A release that knows nothing of it writes none, so what its
-- nodes do while a cluster is upgraded is in journals alone.
CREATE TABLE audit_unsealed (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id TEXT NOT NULL COLLATE "C",
    record TEXT NOT NULL COLLATE "C"
);

-- How many records each log has.
CREATE TABLE audit_logs (
    project_id TEXT NOT NULL COLLATE "C" PRIMARY KEY,
    size BIGINT NOT NULL
);

-- Records by their number in the log, from zero: canonical JSON, whose bytes are hashed.
CREATE TABLE audit_records (
    project_id TEXT NOT NULL COLLATE "C",
    number BIGINT NOT NULL,
    record TEXT NOT NULL COLLATE "C",
    PRIMARY KEY (project_id, number)
);

-- The tree of each log: up to 256 hashes a row.
CREATE TABLE audit_tiles (
    project_id TEXT NOT NULL COLLATE "C",
    level BIGINT NOT NULL,
    tile BIGINT NOT NULL,
    hashes BYTEA NOT NULL,
    PRIMARY KEY (project_id, level, tile)
);

CREATE TABLE audit_checkpoints (
    project_id TEXT NOT NULL COLLATE "C",
    size BIGINT NOT NULL,
    checkpoint TEXT NOT NULL,
    PRIMARY KEY (project_id, size)
);
