-- Ids are text with their readable prefix, so that a person with `sqlite3` can join and search by what
-- the API and the logs print. Times are milliseconds since the Unix epoch. JSON columns hold compact JSON.
-- Keys lead with project and session, as on databases that distribute rows by key.

-- Sessions: one row each, replaced by every append. `version` counts the events of its journal, and `tail`
-- is the position of the last of them.
CREATE TABLE sessions (
    project_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    tail INTEGER NOT NULL,
    status TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    agent_name TEXT,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_active_at INTEGER NOT NULL,
    wake_at INTEGER,
    deleted INTEGER NOT NULL,
    holder TEXT,
    -- The session whose subagent this is; such sessions are never listed.
    parent_id TEXT,
    PRIMARY KEY (project_id, session_id)
) STRICT, WITHOUT ROWID;

-- Idle sessions are not in it, so finding what is due costs what is due.
CREATE INDEX sessions_due ON sessions (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX sessions_held ON sessions (holder) WHERE holder IS NOT NULL;

-- Leases of nodes: milliseconds since the Unix epoch by this machine's clock.
CREATE TABLE nodes (
    node_id TEXT NOT NULL PRIMARY KEY,
    lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Budgets of trees of sessions, in billionths of a US dollar, and what running attempts reserved in them.
CREATE TABLE budgets (
    project_id TEXT NOT NULL,
    root_id TEXT NOT NULL,
    limit_nano_usd INTEGER,
    spent_nano_usd INTEGER NOT NULL,
    PRIMARY KEY (project_id, root_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE reservations (
    project_id TEXT NOT NULL,
    root_id TEXT NOT NULL,
    key TEXT NOT NULL,
    nano_usd INTEGER NOT NULL,
    PRIMARY KEY (project_id, root_id, key)
) STRICT, WITHOUT ROWID;

-- The journals of all sessions, in the order in which they were committed: an append only touches the end of
-- one B-tree. An index on project, session and version would change one more page for each session in a
-- commit and more than halve the rate. Instead each row links to the row before it in its session, and the
-- last is `sessions.tail`. That a session's versions have neither gaps nor duplicates follows from the
-- conditional update of its row in `sessions` in the same transaction; the integrity check looks for both.
--
-- One session's events, without reading those of the others:
--
--     WITH RECURSIVE chain (position) AS (
--         SELECT tail FROM sessions WHERE session_id = 'sess_...'
--         UNION ALL
--         SELECT previous FROM chain JOIN journal USING (position) WHERE previous IS NOT NULL
--     )
--     SELECT version, at, event FROM chain JOIN journal USING (position) ORDER BY version;
CREATE TABLE journal (
    position INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    previous INTEGER,
    at INTEGER NOT NULL,
    event TEXT NOT NULL
) STRICT;

-- Every 64th event, so that reading the middle of a long journal need not begin at its end.
CREATE UNIQUE INDEX journal_marks ON journal (project_id, session_id, version) WHERE version % 64 = 0;

-- All events by session, with readable times. Reads the whole journal, so it is for people.
CREATE VIEW events AS
SELECT project_id, session_id, version, strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS at, event
FROM journal
ORDER BY project_id, session_id, version;

-- The latest folded state of a session.
CREATE TABLE snapshots (
    project_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (project_id, session_id)
) STRICT;

CREATE TABLE items (
    project_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    item_id TEXT NOT NULL,
    turn_id TEXT NOT NULL,
    is_public INTEGER NOT NULL,
    item TEXT NOT NULL,
    PRIMARY KEY (project_id, session_id, ordinal)
) STRICT;

CREATE UNIQUE INDEX items_by_id ON items (project_id, session_id, item_id);
CREATE INDEX items_by_turn ON items (project_id, session_id, turn_id, ordinal);

CREATE TABLE turns (
    project_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    turn_id TEXT NOT NULL,
    turn TEXT NOT NULL,
    PRIMARY KEY (project_id, session_id, turn_id)
) STRICT, WITHOUT ROWID;

-- Every version of every document; `is_latest` marks one of each.
CREATE TABLE documents (
    project_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    is_latest INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    name TEXT,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    wake_at INTEGER,
    PRIMARY KEY (project_id, kind, id, version)
) STRICT;

CREATE UNIQUE INDEX documents_latest ON documents (project_id, kind, id) WHERE is_latest = 1;
CREATE INDEX documents_by_name ON documents (project_id, kind, name, id) WHERE is_latest = 1 AND deleted = 0;

CREATE INDEX documents_due ON documents (kind, wake_at)
    WHERE is_latest = 1 AND deleted = 0 AND wake_at IS NOT NULL;

CREATE TABLE receipts (
    project_id TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (project_id, key)
) STRICT, WITHOUT ROWID;

-- Payloads by digest and length, as journals refer to them.
CREATE TABLE blobs (
    project_id TEXT NOT NULL,
    blob TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (project_id, blob)
) STRICT;
