"""The server: the runtime or a generator behind one port, for clients that exist already. It trains nothing."""
