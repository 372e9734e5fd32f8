"""Errors, options, settings, run specifications, plugins and files, used by all other rooms. Imports no torch."""
