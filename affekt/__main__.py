"""`python -m affekt` is the command `affekt`."""

from importlib import import_module

if __name__ == "__main__":
    import_module("affekt.classify.cli").main()
