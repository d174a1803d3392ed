"""Files and texts, prepared for an encoder.

`decode` turns bytes into samples, with the readers and checks in `formats`; `isolated_decoder` does
it in another process; `missing_files` says what is there in place of a file that is not; `words`
cuts texts.
"""
