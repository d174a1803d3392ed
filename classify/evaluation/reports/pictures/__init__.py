"""What the pictures of a report show, from its JSON alone; the page and the figures draw them."""
