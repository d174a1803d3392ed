"""Where an extraction runs besides this process: in workers on one machine, or on a Ray cluster."""
