"""The conformance kit: what a new backend or method is checked with."""
