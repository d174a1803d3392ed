"""Reports of a comparison: Markdown, LaTeX, figures, model cards."""
