"""Scenarios: typical uses, each one process with one base and the shipped adapters, on real rows."""
