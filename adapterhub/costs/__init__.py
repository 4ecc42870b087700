"""Costs: an adapter beside full fine-tuning of the same task on the same rows, both run and measured."""
