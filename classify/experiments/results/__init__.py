"""What a run leaves: its report folder, its comparison, repeats, changes of the split."""
