"""One recipe, from clips to a report: what it may say, what is known before any work, what it left.

`names` and `places` check what a recipe writes; `checks` refuses what cannot work; `shares` says
which clips each member has in each fold; `opened` remembers encoders; `preview` is
``affekt run --check``.
"""
