"""Name, build and load networks, and speed up their passes."""
