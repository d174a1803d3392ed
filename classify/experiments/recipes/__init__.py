"""Recipes: YAML files that are read strictly, with the line of every mistake."""
