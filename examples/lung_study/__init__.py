"""Does the relevance in the lungs differ between normal and abnormal radiographs? Five methods, and an honest null."""
