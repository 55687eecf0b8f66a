"""Training of the encoder and the network."""
