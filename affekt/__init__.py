"""affekt: embed every clip once, then train, ensemble, compare and serve small heads in seconds.

`affekt.cache` keeps the embeddings, `affekt.extract` makes them, `affekt.classify` uses them.
"""

from __future__ import annotations


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("affekt")
