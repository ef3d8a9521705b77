SELECT rowid FROM episode_terms WHERE episode_terms MATCH ?1 ORDER BY rowid DESC LIMIT ?2
