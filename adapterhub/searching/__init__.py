"""Searching: many trials of a training run's settings on one base, and the best of them trained. It serves nothing."""
