-- Leases are extended before or after a migration, not during one.
LOCK TABLE nodes IN SHARE ROW EXCLUSIVE MODE
