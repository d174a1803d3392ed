"""Networks of one shape and several seeds, trained side by side on a GPU as stacked weights."""
