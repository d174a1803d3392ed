"""Encoders without weights: spectral, prosodic and voice features; character n-grams."""
