"""Extraction outside this process: in workers on one machine, or on a Ray cluster."""
