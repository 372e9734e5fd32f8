"""Export, quantise and measure a trained network."""
