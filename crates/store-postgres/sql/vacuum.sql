VACUUM journal, snapshots, items, turns, sessions, episodes, documents, receipts, budgets, reservations, blobs
