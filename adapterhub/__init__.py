"""adapterhub: one frozen base, many tasks."""
