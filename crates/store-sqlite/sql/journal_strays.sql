-- Events to which neither a later event nor a head links: duplicates, and journals without a head.
SELECT project_id, session_id, version, position
FROM journal
WHERE position NOT IN (
    SELECT previous FROM journal WHERE previous IS NOT NULL
    UNION ALL
    SELECT tail FROM sessions
)
LIMIT ?1
