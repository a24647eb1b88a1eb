"""The two protocols, the vocabulary of operations, the tracer, and the NumPy reference."""
