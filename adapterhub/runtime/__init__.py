"""The runtime: one frozen base in memory, adapters in slots, many of them in one pass. It trains nothing."""
