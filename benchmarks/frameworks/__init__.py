"""One file per framework: how models are built and run, and how to wait for a device."""
