"""Tests against a real SLURM."""
