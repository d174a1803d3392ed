"""`affekt init`: a first recipe for a table of clips, with what was noticed in it."""
