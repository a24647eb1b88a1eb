"""Training with radiologists' gaze, on phantoms with a marker that gives the answer away."""
