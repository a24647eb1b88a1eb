"""The benchmark: what explanations cost, ours and those of every installed peer, in plain forward passes.

Run as ``python -m benchmarks --help`` from the root of the repository.
"""
