"""Collected studies: what tables and figures need of a results folder, in a few files that are worth keeping."""
