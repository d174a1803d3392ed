"""Audio formats: recognised by their first bytes, read, and checked for missing sound."""
