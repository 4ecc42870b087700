"""Training: rows in, an adapter folder out. It knows nothing of registries and serving."""
