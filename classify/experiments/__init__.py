"""One recipe, from clips to a report: what it may say, what is known before any work, what it left.

`run` does it: `recipes` are read, `checks` refuse what cannot work, `read_inputs` and
`embeddings` fetch what the cache holds or lacks, `members` are trained, and `results` are compared
and written. `preview` is ``affekt run --check``; `known_encoders` remembers encoders.
"""
