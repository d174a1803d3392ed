"""The members of an experiment: trained, chosen on dev, refitted, or given as models."""
