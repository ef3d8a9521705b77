-- When payloads were last kept, in milliseconds by this database's clock: the collection of what nobody refers
-- to leaves alone what is recent. What is there already counts as kept now, and so does what a release keeps
-- that knows nothing of it; while such a release runs, nothing is collected.
ALTER TABLE blobs ADD COLUMN kept_at BIGINT NOT NULL DEFAULT (extract(epoch FROM now()) * 1000)::bigint;
