-- What can be recalled: messages and tool results, written with the events that made them. `space` is the mark of
-- whose memory it is, and `episode` grows with time. The neighbours of an episode are those of its session with
-- the nearest `ordinal`. A release that knows nothing of it writes none, so what is said to its nodes while a
-- cluster is upgraded cannot be recalled; a session that one of them deletes is not recalled either, because
-- whoever reads looks at the session.
--
-- `terms` are cut and folded before they come here, every one behind the mark of its space and `·`: a question in
-- one space meets no term of another, and a space's frequencies are its own. They are an array and no `tsvector`,
-- whose parser would cut them again and whose positions nobody asks for.
CREATE TABLE episodes (
    episode BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id TEXT NOT NULL COLLATE "C",
    session_id TEXT NOT NULL COLLATE "C",
    ordinal BIGINT NOT NULL,
    item_id TEXT NOT NULL COLLATE "C",
    space TEXT NOT NULL COLLATE "C",
    agent_id TEXT NOT NULL COLLATE "C",
    user_name TEXT COLLATE "C",
    at BIGINT NOT NULL,
    speaker TEXT NOT NULL COLLATE "C",
    name TEXT COLLATE "C",
    text TEXT NOT NULL COLLATE "C",
    -- JSON; absent where nothing is said.
    labels TEXT COLLATE "C",
    terms TEXT[] COLLATE "C" NOT NULL
);

CREATE UNIQUE INDEX episodes_by_place ON episodes (project_id, session_id, ordinal);
CREATE INDEX episodes_by_space ON episodes (space, at);
CREATE INDEX episodes_by_term ON episodes USING gin (terms);
