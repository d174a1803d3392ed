"""An extraction from plan to committed shards: in one process, several, or on Ray."""
