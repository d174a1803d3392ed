"""Files that say which clip is in which part, and how new clips join an old division."""
