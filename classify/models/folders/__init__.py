"""Model folders: written, read back, and shared on the Hub."""
