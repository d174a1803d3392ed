"""How torch heads are trained: the loop, losses, sampling, batches of rows, CUDA graphs."""
