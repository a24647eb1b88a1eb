"""What the pages of the methods are made of: docstrings, examples, measured counts."""
