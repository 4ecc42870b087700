"""Retraining: the next version of a published adapter, from the corrections of those who used it."""
