"""A study as a few compressed files that go into git: written, read, described."""
