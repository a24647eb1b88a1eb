"""Worked examples, each a folder with a command of its own: ``python -m examples.NAME --help``."""
