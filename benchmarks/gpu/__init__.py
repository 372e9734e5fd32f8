"""Check kdbench on a GPU and measure how fast it is there, in a given time; `benchmarks/gpu.sh` starts it."""
