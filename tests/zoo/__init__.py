"""Real architectures with random weights, and the oracles that judge what the library says about them."""
