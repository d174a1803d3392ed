"""What an embedding is of and how it was made: specs, digests, the index of clips."""
