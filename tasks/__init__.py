"""The built-in tasks: every file that declares one is a task."""
