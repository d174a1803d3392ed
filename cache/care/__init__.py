"""Care of a cache: verify, repair, merge and pack it, exchange embeddings with other tools."""
