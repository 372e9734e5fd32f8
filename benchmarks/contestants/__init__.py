"""One file a contestant; each has `measure(work, how)`, which is called in a process of its own."""
