"""The Markdown report, section by section."""
