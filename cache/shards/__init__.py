"""A shard: one immutable HDF5 file of vectors, written, read and checked."""
