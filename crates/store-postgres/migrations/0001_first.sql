-- Ids are text with their readable prefix, so that a person with `psql` can join and search by what the API
-- and the logs print; they sort by their bytes. Times are milliseconds since the Unix epoch, but leases,
-- which this database's own clock measures. JSON is kept as the text that was written: `jsonb` would reorder
-- it, and refuses U+0000. Other text has its U+0000 and U+0001 escaped, see `text.rs`.
-- Keys lead with project and session, as on databases that distribute rows by key.

-- Sessions: one row each, replaced by every append. `version` counts the events of its journal. `metadata`
-- holds one JSON array `["key","value"]` for each pair. Room is left in each page, so that an append that
-- changes no indexed column updates the row in place.
CREATE TABLE sessions (
    project_id TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    agent_id TEXT COLLATE "C" NOT NULL,
    agent_name TEXT COLLATE "C",
    metadata TEXT[] COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    last_active_at BIGINT NOT NULL,
    wake_at BIGINT,
    deleted BOOLEAN NOT NULL,
    holder TEXT COLLATE "C",
    -- The session whose subagent this is; such sessions are never listed.
    parent_id TEXT COLLATE "C",
    PRIMARY KEY (project_id, session_id)
) WITH (fillfactor = 70);

-- Neither idle sessions nor those of living nodes are looked at to find what is due: idle ones are in no
-- index of these, held ones are found by the nodes that are not alive.
CREATE INDEX sessions_due ON sessions (wake_at, project_id, session_id) WHERE wake_at IS NOT NULL AND holder IS NULL;
CREATE INDEX sessions_held ON sessions (holder, wake_at) WHERE holder IS NOT NULL;

-- Leases of nodes. Every holder of a session has a row here, alive or not: a session whose holder had none
-- would never be found again.
CREATE TABLE nodes (
    node_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    lease_until TIMESTAMPTZ NOT NULL
);

-- The journal.
CREATE TABLE journal (
    project_id TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    at BIGINT NOT NULL,
    event TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, session_id, version)
);

-- The latest folded state of a session.
CREATE TABLE snapshots (
    project_id TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (project_id, session_id)
);

CREATE TABLE items (
    project_id TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    ordinal BIGINT NOT NULL,
    item_id TEXT COLLATE "C" NOT NULL,
    turn_id TEXT COLLATE "C" NOT NULL,
    is_public BOOLEAN NOT NULL,
    item TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, session_id, ordinal)
);

CREATE UNIQUE INDEX items_by_id ON items (project_id, session_id, item_id);
CREATE INDEX items_by_turn ON items (project_id, session_id, turn_id, ordinal);

CREATE TABLE turns (
    project_id TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    turn_id TEXT COLLATE "C" NOT NULL,
    turn TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, session_id, turn_id)
);

-- Every version of every document; `is_latest` marks one of each. The row of version 1 is the lock of all.
CREATE TABLE documents (
    project_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    is_latest BOOLEAN NOT NULL,
    deleted BOOLEAN NOT NULL,
    name TEXT COLLATE "C",
    body TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    wake_at BIGINT,
    PRIMARY KEY (project_id, kind, id, version)
);

CREATE UNIQUE INDEX documents_latest ON documents (project_id, kind, id) WHERE is_latest;
CREATE INDEX documents_by_name ON documents (project_id, kind, name, id) WHERE is_latest AND NOT deleted;
CREATE INDEX documents_due ON documents (kind, wake_at, project_id, id)
    WHERE is_latest AND NOT deleted AND wake_at IS NOT NULL;

-- Budgets of trees of sessions, in billionths of a US dollar, and what running attempts reserved in them.
-- An amount is unsigned; one above 2^63 is stored as the negative number with the same bits.
CREATE TABLE budgets (
    project_id TEXT COLLATE "C" NOT NULL,
    root_id TEXT COLLATE "C" NOT NULL,
    limit_nano_usd BIGINT,
    spent_nano_usd BIGINT NOT NULL,
    PRIMARY KEY (project_id, root_id)
);

CREATE TABLE reservations (
    project_id TEXT COLLATE "C" NOT NULL,
    root_id TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    nano_usd BIGINT NOT NULL,
    PRIMARY KEY (project_id, root_id, key)
);

CREATE TABLE receipts (
    project_id TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    status INTEGER NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (project_id, key)
);

-- Payloads by digest and length, as journals refer to them. Without a payload it is an object of the same
-- name in the object store.
CREATE TABLE blobs (
    project_id TEXT COLLATE "C" NOT NULL,
    blob TEXT COLLATE "C" NOT NULL,
    payload BYTEA,
    PRIMARY KEY (project_id, blob)
);
-- Payloads are mostly compressed already, or a digest away from being read whole.
ALTER TABLE blobs ALTER COLUMN payload SET STORAGE EXTERNAL;
