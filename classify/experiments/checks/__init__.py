"""What a run refuses before any work: in the recipe, and in the folders that it names."""
