-- What documents are found by: terms of their latest versions, under kind and name. Facts are the documents that are
-- found so; their name is the mark of their scope, so a question in one scope meets no term of another. A plain table
-- and no FTS5: facts are short, a term occurs in one of them or does not, and the same rows serve PostgreSQL.
CREATE TABLE document_terms (
    project_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    term TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (project_id, kind, name, term, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX document_terms_by_id ON document_terms (project_id, kind, id);
