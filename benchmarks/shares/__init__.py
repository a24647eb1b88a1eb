"""Where our own time goes."""
