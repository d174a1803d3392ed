"""`affekt serve`: a small HTTP service, and the page that it shows."""
