"""Checks that a method keeps the engine's contract, behind `kdbench check-method`."""
