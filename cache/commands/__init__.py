"""What every command shares: the terminal, signals, checks of outputs; and `affekt cache`."""
