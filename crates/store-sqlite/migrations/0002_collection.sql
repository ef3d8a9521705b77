-- When payloads were last kept, in milliseconds since the Unix epoch: the collection of what nobody refers to
-- leaves alone what is recent. A payload without a row here is older than all that have one. A table of its
-- own, because a stamp beside a large payload would be written with the payload each time.
CREATE TABLE blob_stamps (
    project_id TEXT NOT NULL,
    blob TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (project_id, blob)
) STRICT, WITHOUT ROWID;
