"""Scores of systems: measures with intervals, pairs, counts, votes, and how firm a choice is."""
