-- Sketches of a space side by side: those of episodes whose numbers differ in their last six bits alone. Twenty thousand
-- are read from some three hundred rows. A row follows from `episode_vectors` and is made anew with what it is made of,
-- see `sql/fill_sketches.sql`: for each episode its number in eight bytes, how long its sketch is in two, and the sketch,
-- which is empty where there is none.
CREATE TABLE episode_sketches (
    space TEXT NOT NULL,
    block INTEGER NOT NULL,
    model TEXT NOT NULL,
    sketches BLOB NOT NULL,
    PRIMARY KEY (space, block, model)
) STRICT, WITHOUT ROWID;

INSERT INTO episode_sketches (space, block, model, sketches)
SELECT
    space,
    episode >> 6,
    model,
    unhex(group_concat(
        printf('%016X%04X', episode, coalesce(length(sketch), 0)) || hex(sketch), '' ORDER BY episode
    ))
FROM episode_vectors
GROUP BY space, episode >> 6, model;

DROP INDEX episode_vectors_by_space;
