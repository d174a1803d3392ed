"""What a file or a text holds, made ready for an encoder.

`formats` names a file's format by its first bytes, `containers`, `mpeg` and `ogg` compare what its
header promises with what follows, `libsndfile` and `ffmpeg` read samples, `missing` says what is
there in place of a file that is not.
"""
