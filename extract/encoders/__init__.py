"""Pretrained encoders: every transformers family that can be made exact; the rest is refused.

`open_backend` gives the backend of a folder or a Hub id. The table of families is in `families`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .families import FAMILIES, Family
    from .opening import open_backend

_WHERE = {"FAMILIES": "families", "Family": "families", "open_backend": "opening"}

__all__ = ["FAMILIES", "Family", "open_backend"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
