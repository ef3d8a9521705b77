INSERT INTO episode_terms (rowid, terms) VALUES (?1, ?2)
