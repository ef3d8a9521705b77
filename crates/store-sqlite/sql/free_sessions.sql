UPDATE sessions SET holder = NULL WHERE holder = ?1
