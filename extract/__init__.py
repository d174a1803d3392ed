"""Turn clips into embeddings: decode, encode, pool every layer, keep.

`extract` fills a space of a cache with what is missing; `Encoder` is a frozen model with its rules
for input. Needs `affekt.cache`; nothing here uses labels, heads or metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .backend import Backend as Backend, Pooled as Pooled
    from .encoder import Encoder as Encoder
    from .encoder_names import register_encoder as register_encoder
    from .errors import Unusable as Unusable
    from .inputs.decode import Signal as Signal, decode as decode
    from .running.embedding import extract as extract
    from .running.plan import Plan as Plan, plan as plan

__all__, __getattr__, __dir__ = public_names(__name__)
