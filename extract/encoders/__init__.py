"""Pretrained encoders: every transformers family that can be made exact; the rest is refused.

`open_backend` gives the backend of a folder or a Hub id. The table of families is in `families`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .families import FAMILIES as FAMILIES, Family as Family
    from .opening import open_backend as open_backend

__all__, __getattr__, __dir__ = public_names(__name__)
