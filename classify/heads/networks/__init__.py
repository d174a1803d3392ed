"""Heads that are torch networks: MLP, patch transformer, fusion, regression, multi-task."""
