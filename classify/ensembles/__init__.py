"""Ensembles of members: fixed rules, fitted ones, calibration, subsets, and saved ones."""
