WITH RECURSIVE chain (position) AS (
    SELECT tail FROM sessions WHERE project_id = ?1 AND session_id = ?2
    UNION
    SELECT journal.previous
    FROM chain JOIN journal ON journal.position = chain.position
    WHERE journal.previous IS NOT NULL
)
DELETE FROM journal WHERE position IN (SELECT position FROM chain) AND project_id = ?1 AND session_id = ?2
