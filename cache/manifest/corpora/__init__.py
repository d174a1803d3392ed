"""Known corpus formats, read as manifests."""
