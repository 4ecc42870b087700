"""Bases: found, fingerprinted, loaded frozen. It knows nothing of adapters' training or serving."""
