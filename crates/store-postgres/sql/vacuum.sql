VACUUM journal, snapshots, items, turns, sessions, episodes, episode_vectors, documents, document_terms, receipts, budgets, reservations, budget_uses, blobs
