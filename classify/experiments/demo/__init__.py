"""`affekt demo`: a whole run on a synthetic corpus."""
