"""Heads that are linear in the features: logistic regression, LDA, ridge."""
