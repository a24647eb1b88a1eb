"""What must hold of any library that explains models: cases, independent oracles, and the libraries they are put to."""
