-- Signs of the vectors, a bit for each number, in the index itself: which episodes of a space are likely alike is read
-- from a few contiguous pages. Where there is none yet, the vectors are compared themselves.
ALTER TABLE episode_vectors ADD COLUMN sketch BLOB;
DROP INDEX episode_vectors_by_space;
CREATE INDEX episode_vectors_by_space ON episode_vectors (space, model, episode, sketch);
