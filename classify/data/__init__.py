"""Labels, splits and predictions: tasks, votes of raters, divisions of clips."""
