"""A model that runs on clips laid end to end, without padding: the fast path of a GPU.

Most of a transformer sees one frame at a time and needs no change. What looks at neighbours is
replaced: the convolutions before it, the positional convolution, and the attention.
"""
