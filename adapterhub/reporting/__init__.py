"""Reporting: from a model's outputs on rows to figures with intervals, tables and pages. It runs no model."""
