"""Whether maps lie where findings are: every method, every metric, both frameworks."""
