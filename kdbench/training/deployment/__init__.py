"""What a trained network is in use: exported, quantised, measured."""
