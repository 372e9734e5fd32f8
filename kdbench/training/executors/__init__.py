"""Where a plan is executed on this machine: in this process, or in several at once."""
