"""Checkpoints that others published, as models of affekt.

`published` makes a `Model` of a folder: the Vocametrix valence head, a UMUTeam emotion model, or
a fine-tuned classifier of transformers. `affekt predict FOLDER` uses it, and `affekt import-model`
saves what it makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .as_model import Published as Published
    from .recognising import published as published

__all__, __getattr__, __dir__ = public_names(__name__)
