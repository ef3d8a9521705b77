-- Episodes that are not in the index and do not wait behind it either.
SELECT project_id, session_id, ordinal, episode FROM episodes
WHERE CASE
    WHEN terms IS NULL THEN episode NOT IN (SELECT rowid FROM episode_terms)
    ELSE episode <= (SELECT rowid FROM episode_terms ORDER BY rowid DESC LIMIT 1)
END
LIMIT ?1
