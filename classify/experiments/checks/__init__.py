"""Checks before any work: of the recipe, and of the folders that it names."""
