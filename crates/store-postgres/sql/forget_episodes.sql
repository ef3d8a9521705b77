DELETE FROM episodes
USING unnest($1::text[], $2::text[], $3::bigint[]) AS gone (project_id, session_id, ordinal)
WHERE episodes.project_id = gone.project_id AND episodes.session_id = gone.session_id
    AND episodes.ordinal >= gone.ordinal
