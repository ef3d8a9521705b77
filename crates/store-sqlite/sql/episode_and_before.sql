-- An episode, and the one of its space that was said right before it in its session.
SELECT near.session_id, near.item_id, near.ordinal, near.at, near.speaker, near.name, near.text, near.labels,
    near.project_id
FROM episodes AS hit
JOIN episodes AS near USING (project_id, session_id, space)
WHERE hit.episode = ?1 AND near.ordinal <= hit.ordinal
ORDER BY near.ordinal DESC
LIMIT 2
