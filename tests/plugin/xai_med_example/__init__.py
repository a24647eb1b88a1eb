"""A method and a backend for xai_med in a package of its own; both are found by entry points."""
