"""Checkpoints that others published, as models of affekt.

`published` makes a `Model` of a folder: the Vocametrix valence head, a UMUTeam emotion model, or
a fine-tuned classifier of transformers. `affekt predict FOLDER` uses it, and `affekt import-model`
saves what it makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .as_model import Published, published

__all__ = ["Published", "published"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import as_model

    return getattr(as_model, name)
