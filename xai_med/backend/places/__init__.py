"""Where in the image the cells of a tensor lie, whatever moved them."""
