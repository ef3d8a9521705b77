-- Vectors of episodes, of one model each, for recall by meaning. They are made after the commit of what they are of and
-- go with it. `space` stands here as well, so that those of one space are found newest first without their episodes.
CREATE TABLE episode_vectors (
    episode INTEGER PRIMARY KEY,
    space TEXT NOT NULL,
    model TEXT NOT NULL,
    vectors BLOB NOT NULL
) STRICT;

CREATE INDEX episode_vectors_by_space ON episode_vectors (space, model, episode);
