-- How budgets stand that more than one tree of sessions may share: what was spent and what running attempts set aside,
-- in billionths of a US dollar, tokens, model calls and milliseconds. `budget` says whose it is and which time it holds
-- for, as in `project/month/2026-11`. Limits are not kept here: they come with what is to fit into them.
CREATE TABLE budget_uses (
    project_id TEXT NOT NULL,
    budget TEXT NOT NULL,
    spent_nano_usd INTEGER NOT NULL,
    spent_tokens INTEGER NOT NULL,
    spent_calls INTEGER NOT NULL,
    spent_millis INTEGER NOT NULL,
    reserved_nano_usd INTEGER NOT NULL,
    reserved_tokens INTEGER NOT NULL,
    reserved_calls INTEGER NOT NULL,
    reserved_millis INTEGER NOT NULL,
    PRIMARY KEY (project_id, budget)
) STRICT, WITHOUT ROWID;
