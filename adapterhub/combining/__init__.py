"""Combining: adapters compared, merged, converted and exported. It trains nothing and serves nothing."""
