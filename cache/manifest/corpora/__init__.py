"""Corpora as others keep them, made into manifests."""
