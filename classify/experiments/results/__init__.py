"""What a run leaves: its report folder, its comparison, repeats, uses of the test set."""
