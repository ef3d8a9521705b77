DELETE FROM episode_terms WHERE rowid = ?1
