"""Collect a study in a few compressed files for git, and read it again."""
