"""How a running model is followed, operation by operation."""
