"""Whatever the context in which a model runs or the way in which it is written: right, or refused by name."""
