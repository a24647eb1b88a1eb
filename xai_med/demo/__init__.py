"""The embedded demonstration: phantoms with known findings and a small trained network."""
