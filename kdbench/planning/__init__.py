"""From settings to a graph of runs: configuration, presets, cost, and the interface of those who execute it."""
