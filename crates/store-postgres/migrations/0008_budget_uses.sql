-- How budgets stand that more than one tree of sessions may share: what was spent and what running attempts set aside,
-- in billionths of a US dollar, tokens, model calls and milliseconds. `budget` says whose it is and which time it holds
-- for, as in `project/month/2026-11`. Limits are not kept here: they come with what is to fit into them.
-- Busy rows are updated in place: room is left in each page, and no index holds a number.
CREATE TABLE budget_uses (
    project_id TEXT COLLATE "C" NOT NULL,
    budget TEXT COLLATE "C" NOT NULL,
    spent_nano_usd BIGINT NOT NULL,
    spent_tokens BIGINT NOT NULL,
    spent_calls BIGINT NOT NULL,
    spent_millis BIGINT NOT NULL,
    reserved_nano_usd BIGINT NOT NULL,
    reserved_tokens BIGINT NOT NULL,
    reserved_calls BIGINT NOT NULL,
    reserved_millis BIGINT NOT NULL,
    PRIMARY KEY (project_id, budget)
) WITH (fillfactor = 50);
