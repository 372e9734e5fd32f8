"""One file a command, with what it prints; each defines `command`.

`kdbench --help` imports all of these files, so heavy imports stand within the functions that need them.
"""
