-- A whole batch whose sessions are where they are taken to be: new, or at the expected version and held by
-- nobody else. One that is not divides by zero, or is there already, which undoes everything. The parts are
-- those of `open_session.sql` and the others of their names; one statement of its own is a transaction.
WITH heads AS (
    SELECT
        project_id, session_id, version, status, agent_id, agent_name,
        string_to_array(metadata, E'\n') AS metadata,
        created_at, last_active_at, wake_at, deleted, parent_id, holder, expected
    FROM unnest(
        $1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::bigint[], $9::bigint[], $10::bigint[], $11::boolean[], $12::text[], $13::text[],
        $14::bigint[]
    ) AS heads (
        project_id, session_id, version, status, agent_id, agent_name, metadata,
        created_at, last_active_at, wake_at, deleted, parent_id, holder, expected
    )
),
extended AS (
    UPDATE sessions
    SET version = heads.version, status = heads.status, agent_id = heads.agent_id,
        agent_name = heads.agent_name, metadata = heads.metadata, created_at = heads.created_at,
        last_active_at = heads.last_active_at, wake_at = heads.wake_at, deleted = heads.deleted,
        parent_id = heads.parent_id,
        holder = CASE WHEN heads.wake_at IS NOT NULL THEN coalesce(heads.holder, sessions.holder) END
    FROM heads
    WHERE sessions.project_id = heads.project_id AND sessions.session_id = heads.session_id
        AND sessions.version = heads.expected
        AND (heads.holder IS NULL OR sessions.holder IS NULL OR sessions.holder = heads.holder)
    RETURNING 1
),
opened AS (
    INSERT INTO sessions (
        project_id, session_id, version, status, agent_id, agent_name, metadata,
        created_at, last_active_at, wake_at, deleted, parent_id, holder
    )
    SELECT
        project_id, session_id, version, status, agent_id, agent_name, metadata,
        created_at, last_active_at, wake_at, deleted, parent_id,
        CASE WHEN wake_at IS NOT NULL THEN holder END
    FROM heads
    WHERE expected = 0
),
put_events AS (
    INSERT INTO journal (project_id, session_id, version, at, event)
    SELECT * FROM unnest($15::text[], $16::text[], $17::bigint[], $18::bigint[], $19::text[])
),
put_items AS (
    INSERT INTO items (project_id, session_id, ordinal, item_id, turn_id, is_public, item)
    SELECT *
    FROM unnest($20::text[], $21::text[], $22::bigint[], $23::text[], $24::text[], $25::boolean[], $26::text[])
    ON CONFLICT (project_id, session_id, item_id)
    DO UPDATE SET turn_id = excluded.turn_id, is_public = excluded.is_public, item = excluded.item
),
put_turns AS (
    INSERT INTO turns (project_id, session_id, turn_id, turn)
    SELECT * FROM unnest($27::text[], $28::text[], $29::text[], $30::text[])
    ON CONFLICT (project_id, session_id, turn_id) DO UPDATE SET turn = excluded.turn
),
put_snapshots AS (
    INSERT INTO snapshots (project_id, session_id, version, bytes)
    SELECT * FROM unnest($31::text[], $32::text[], $33::bigint[], $34::bytea[])
    ON CONFLICT (project_id, session_id) DO UPDATE SET version = excluded.version, bytes = excluded.bytes
),
put_receipts AS (
    INSERT INTO receipts (project_id, key, digest, status, body, at)
    SELECT * FROM unnest($35::text[], $36::text[], $37::text[], $38::integer[], $39::text[], $40::bigint[])
),
put_unsealed AS (
    INSERT INTO audit_unsealed (project_id, record)
    SELECT * FROM unnest($41::text[], $42::text[])
),
put_episodes AS (
    INSERT INTO episodes (
        project_id, session_id, ordinal, item_id, space, agent_id, user_name, at, speaker, name, text, labels, terms
    )
    SELECT
        project_id, session_id, ordinal, item_id, space, agent_id, user_name, at, speaker, name, text, labels,
        string_to_array(terms, ' ')
    FROM unnest(
        $43::text[], $44::text[], $45::bigint[], $46::text[], $47::text[], $48::text[], $49::text[],
        $50::bigint[], $51::text[], $52::text[], $53::text[], $54::text[], $55::text[]
    ) AS put (
        project_id, session_id, ordinal, item_id, space, agent_id, user_name, at, speaker, name, text, labels, terms
    )
    ON CONFLICT (project_id, session_id, ordinal) DO UPDATE
    SET item_id = excluded.item_id, space = excluded.space, agent_id = excluded.agent_id,
        user_name = excluded.user_name, at = excluded.at, speaker = excluded.speaker, name = excluded.name,
        text = excluded.text, labels = excluded.labels, terms = excluded.terms
)
SELECT 1 / ((SELECT count(*) FROM extended) = (SELECT count(*) FROM heads WHERE expected > 0))::integer
