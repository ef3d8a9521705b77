SELECT episode, space, terms FROM episodes
WHERE terms IS NOT NULL
    AND episode > coalesce((SELECT rowid FROM episode_terms ORDER BY rowid DESC LIMIT 1), 0)
ORDER BY episode
