"""Sweeps under fire."""
