"""`affekt doctor`: what this installation, this machine and these caches can do."""
