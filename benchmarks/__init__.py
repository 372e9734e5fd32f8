"""Measure the speed of kdbench beside its alternatives. `python -m benchmarks --help`; see README.md."""
