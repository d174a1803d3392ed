"""Numbers from labels and predictions: measures, bootstrap intervals, significance tests.

`max_t` tests several pairs of systems together, never below the p of `unseen_speaker`;
`detectable` simulates what that test can find; `crossed` draws sentences as well as speakers.
"""
