"""Studies of many runs, each declared in a file: repeated from nothing, part by part, by plain kdbench commands."""
