"""How features are standardised: over train, by speaker or group, or as another tool did."""
