"""What the harness costs around the training: each file measures one thing."""
