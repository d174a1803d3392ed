"""Numbers from labels and predictions: measures, bootstrap intervals, significance tests."""
