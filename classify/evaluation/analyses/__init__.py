"""Analyses of a comparison: shortcuts, diversity, abstention, learning curve, transfer."""
