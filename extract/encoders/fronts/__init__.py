"""From one clip or text to a model's input, by family."""
