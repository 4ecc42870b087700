"""Tasks: how rows become tensors, outputs become answers, and answers become figures. One file per task."""
