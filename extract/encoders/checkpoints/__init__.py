"""What a checkpoint's files say, and what of them is read."""
