-- What can be recalled: messages and tool results, written with the events that made them. `space` is the mark of
-- whose memory it is, and `episode` grows with time. The neighbours of an episode are those of its session with
-- the nearest `ordinal`.
CREATE TABLE episodes (
    episode INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    item_id TEXT NOT NULL,
    space TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    user TEXT,
    at INTEGER NOT NULL,
    speaker TEXT NOT NULL,
    name TEXT,
    text TEXT NOT NULL,
    -- JSON; absent where nothing is said.
    labels TEXT
) STRICT;

CREATE UNIQUE INDEX episodes_by_place ON episodes (project_id, session_id, ordinal);
CREATE INDEX episodes_by_space ON episodes (space, at);

-- The terms of each episode, every one behind the mark of its space and `·`: a question in one space meets no term
-- of another, and a space's frequencies are its own. Terms are cut and folded before they come here, so all that is
-- left to do is to part them at the spaces, and every byte outside ASCII is part of a term.
CREATE VIRTUAL TABLE episode_terms USING fts5 (
    terms, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
);
