"""Benchmarks: one question per file, peers in the same run. `python -m benchmarks.registry --quick --check`."""
