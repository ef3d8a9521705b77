SELECT episode, at, terms FROM episodes
WHERE space = ?1
    AND terms IS NOT NULL
    AND episode > coalesce((SELECT rowid FROM episode_terms ORDER BY rowid DESC LIMIT 1), 0)
ORDER BY episode DESC
