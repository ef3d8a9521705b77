INSERT INTO episode_terms (episode_terms) VALUES ('optimize')
