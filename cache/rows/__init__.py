"""The rows of one spec: index, writer, compaction, canary, failures, remarks."""
