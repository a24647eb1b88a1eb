"""One file per library: how it does each job, as its manual shows."""
