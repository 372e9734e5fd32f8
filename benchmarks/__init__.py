"""How fast kdbench is, beside what else one would use. `python -m benchmarks --help`; see README.md."""
