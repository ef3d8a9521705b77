INSERT INTO episodes (
    project_id, session_id, ordinal, item_id, space, agent_id, user, at, speaker, name, text, labels, terms
)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
ON CONFLICT DO NOTHING
