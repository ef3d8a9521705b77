-- Vectors of episodes, of one model each, for recall by meaning. They are made after the commit of what they are of and
-- go with it, whichever release removes or replaces it: one that knows nothing of them may be running.
CREATE TABLE episode_vectors (
    episode BIGINT PRIMARY KEY REFERENCES episodes ON DELETE CASCADE,
    space TEXT NOT NULL COLLATE "C",
    model TEXT NOT NULL COLLATE "C",
    vectors BYTEA NOT NULL
);

-- Numbers of a byte do not shrink any more, and are read by the thousand.
ALTER TABLE episode_vectors ALTER COLUMN vectors SET STORAGE EXTERNAL;

CREATE INDEX episode_vectors_by_space ON episode_vectors (space, model, episode);

CREATE FUNCTION forget_episode_vectors() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM episode_vectors WHERE episode = OLD.episode;
    RETURN NULL;
END
$$;

CREATE TRIGGER episodes_replaced
AFTER UPDATE ON episodes
FOR EACH ROW EXECUTE FUNCTION forget_episode_vectors();
