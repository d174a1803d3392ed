"""The files of a checkpoint: which are read, and how."""
