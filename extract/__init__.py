"""Turn clips into embeddings: decode, encode, pool every layer, keep.

`extract` fills a space of a cache with what is missing; `Encoder` is a frozen model with its rules
for input. Needs `affekt.cache`; nothing here knows labels, heads or metrics.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio import Signal, decode
    from .backend import Backend, Pooled
    from .encoder import Encoder
    from .errors import Unusable
    from .loop import extract
    from .planning import Plan, plan

_WHERE = {
    "Backend": "backend",
    "Encoder": "encoder",
    "Plan": "planning",
    "Pooled": "backend",
    "Signal": "audio",
    "Unusable": "errors",
    "decode": "audio",
    "extract": "loop",
    "plan": "planning",
}

__all__ = [
    "Backend",
    "Encoder",
    "Plan",
    "Pooled",
    "Signal",
    "Unusable",
    "decode",
    "extract",
    "plan",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
