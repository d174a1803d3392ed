"""What a comparison may claim: tests between systems, what they can find, how the choice was made.

`max_t` tests several pairs of systems together, never below the p of `unseen_speaker`;
`detectable` simulates what that test can find. `gaps` compares genders or languages, `crossed`
draws sentences beside speakers. `choice` counts what was tried and how firm the choice is,
`test_uses` keeps how often a test set was scored.
"""
