"""Data: rows read from files and data sets, named by field, split. It knows no tasks, models or tensors."""
