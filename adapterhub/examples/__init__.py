"""Example rows that ship with the package: shop messages for a text classification and an entity tagging task."""
