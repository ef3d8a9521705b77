INSERT INTO episodes (
    project_id, session_id, ordinal, item_id, space, agent_id, user_name, at, speaker, name, text, labels, terms
)
SELECT
    project_id, session_id, ordinal, item_id, space, agent_id, user_name, at, speaker, name, text, labels,
    string_to_array(terms, ' ')
FROM unnest(
    $1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
    $9::text[], $10::text[], $11::text[], $12::text[], $13::text[]
) AS put (
    project_id, session_id, ordinal, item_id, space, agent_id, user_name, at, speaker, name, text, labels, terms
)
ON CONFLICT (project_id, session_id, ordinal) DO UPDATE
SET item_id = excluded.item_id, space = excluded.space, agent_id = excluded.agent_id,
    user_name = excluded.user_name, at = excluded.at, speaker = excluded.speaker, name = excluded.name,
    text = excluded.text, labels = excluded.labels, terms = excluded.terms
