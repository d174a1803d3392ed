"""`affekt demo`: the main job on a synthetic corpus, for those who have none."""
