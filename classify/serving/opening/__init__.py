"""Opening what predicts: a model folder, a run, published checkpoints, and their encoders."""
