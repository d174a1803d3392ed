"""What makes a model's input of one clip or text, by family."""
