-- Points of large spaces: their vectors as pgvector keeps them, derived from `episode_vectors` and nowhere else kept.
-- Not a migration, because a server may get the extension at any time or never. A trigger makes the points, so that
-- they are there whichever release writes vectors, and go with them.
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE IF NOT EXISTS near_spaces (
    near INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    space TEXT NOT NULL COLLATE "C",
    model TEXT NOT NULL COLLATE "C",
    -- Of each vector.
    numbers INTEGER NOT NULL,
    -- Whether every vector has its point and the index is built.
    ready BOOLEAN NOT NULL DEFAULT FALSE,
    UNIQUE (space, model)
);

CREATE TABLE IF NOT EXISTS near_points (
    episode BIGINT NOT NULL REFERENCES episode_vectors ON DELETE CASCADE,
    -- Which of the episode's vectors.
    place SMALLINT NOT NULL,
    near INTEGER NOT NULL REFERENCES near_spaces ON DELETE CASCADE,
    point HALFVEC NOT NULL,
    PRIMARY KEY (episode, place)
);

-- The vectors of an episode, of length one. Their bytes: how many numbers each has, in two; for each, its scale, in
-- four, which is of no account here, and its numbers, each a signed byte.
CREATE OR REPLACE FUNCTION near_points_of(vectors BYTEA, numbers INTEGER)
RETURNS TABLE (place INTEGER, point HALFVEC) LANGUAGE sql IMMUTABLE AS $$
    SELECT place, l2_normalize((
        SELECT array_agg(((get_byte(vectors, 6 + place * (4 + numbers) + i) # 128) - 128)::REAL ORDER BY i)
        FROM generate_series(0, numbers - 1) AS i
    )::HALFVEC)
    FROM generate_series(0, (length(vectors) - 2) / (4 + numbers) - 1) AS place
    WHERE get_byte(vectors, 0) + 256 * get_byte(vectors, 1) = numbers
$$;

CREATE OR REPLACE FUNCTION keep_near_points() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM near_points WHERE episode = OLD.episode;
    END IF;
    INSERT INTO near_points (episode, place, near, point)
    SELECT NEW.episode, place, near, point
    FROM near_spaces, near_points_of(NEW.vectors, numbers)
    WHERE space = NEW.space AND model = NEW.model;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER episode_vectors_kept
AFTER INSERT OR UPDATE ON episode_vectors
FOR EACH ROW EXECUTE FUNCTION keep_near_points();
