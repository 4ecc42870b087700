"""The command line: one file per group of commands; the work is imported only when a command runs."""
