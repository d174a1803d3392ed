"""Models: a head with its task and its features."""
