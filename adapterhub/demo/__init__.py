"""The demo: the whole way, from example rows to measured savings."""
