"""The logistic regressions of all layers together, on a GPU."""
