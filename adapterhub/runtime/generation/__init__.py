"""Generation: rows that each write with their own adapter, join and leave at every step. It trains nothing."""
