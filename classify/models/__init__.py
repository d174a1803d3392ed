"""Models: a head with its task and features, saved as a folder, and those of other people."""
