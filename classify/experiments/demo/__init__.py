"""`affekt demo`: a recipe for a manifest, and a synthetic corpus for those who have none."""
