"""How our cost grows: with classes, batch, image size, number of calls; and what importing costs."""
