"""Divisions of clips into train, dev and test: schemes, folds, files, leak checks."""
