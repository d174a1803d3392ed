"""What all commands share: the terminal, signals, checks of outputs; and `affekt cache`."""
