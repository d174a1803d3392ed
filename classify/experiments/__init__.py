"""One recipe, from clips to a report: its keys, what is checked first, and what a run leaves.

`run` does it: `recipes` are read, `checks` refuse what cannot work, `prepare` reads the inputs
into `Prepared`, `embeddings` computes the rows that are not stored, `members` are trained, and
`results` are compared and written. `preview` is ``affekt run --check``, `first_recipe` is
``affekt init``; `known_encoders` remembers encoders.
"""
