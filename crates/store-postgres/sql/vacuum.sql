VACUUM journal, snapshots, items, turns, sessions, episodes, episode_vectors, documents, receipts, budgets, reservations, blobs
