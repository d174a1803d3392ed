"""`affekt transcribe`: speech recognisers, and the transcripts that they write."""
