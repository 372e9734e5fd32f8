"""Execute a plan on this machine: in this process, or in several at once."""
