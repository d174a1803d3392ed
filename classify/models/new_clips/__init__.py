"""What a model does with new clips: find them, open encoders, embed, answer; nothing is stored."""
