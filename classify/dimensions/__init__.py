"""Numbers instead of labels: arousal, dominance, valence, each on a scale of its own.

A task of numbers names dimensions with their columns and ranges (`scales`). Its predictions are
numbers (`estimates`), scored by concordance (`concordance`), compared (`comparing`) and reported
(`dimension_report`) as those of labels are.
"""
