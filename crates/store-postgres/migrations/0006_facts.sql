-- What documents are found by: terms of their latest versions, under kind and name. Facts are the documents that are
-- found so; their name is the mark of their scope, so a question in one scope meets no term of another. A plain table
-- and no array with a GIN index: keys lead with the project, and the same rows serve SQLite. A release that knows
-- nothing of it writes no facts.
CREATE TABLE document_terms (
    project_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    term TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, kind, name, term, id)
);

CREATE INDEX document_terms_by_id ON document_terms (project_id, kind, id);
