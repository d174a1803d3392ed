"""affekt.cache: clips, and the embeddings stored for them. numpy and h5py only.

===================  ==========================================================
`Manifest`, `Clip`   a table of clips, read from CSV, TSV, JSONL, Parquet or pandas
`Spec`               everything that decides an embedding's numbers
`Cache`, `Space`     a folder of spaces; all embeddings of one spec
`Features`           which layers of a space a head sees
`Seen`, `seen`       what was read for a clip, for `Cache.record`
errors               `AffektError` and its kinds
===================  ==========================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cache import Cache
    from .clips import Seen, seen
    from .digests import audio_digest, row_key, text_digest
    from .errors import (
        AffektError,
        CanaryError,
        DamagedError,
        InputError,
        MissingError,
        SpecError,
        nearest,
    )
    from .features import Features
    from .manifest import Clip, Manifest
    from .space import Space
    from .spec import Spec

_HOME = {
    "AffektError": "errors",
    "Cache": "cache",
    "CanaryError": "errors",
    "Clip": "manifest",
    "DamagedError": "errors",
    "Features": "features",
    "InputError": "errors",
    "Manifest": "manifest",
    "MissingError": "errors",
    "Seen": "clips",
    "Space": "space",
    "Spec": "spec",
    "SpecError": "errors",
    "audio_digest": "digests",
    "nearest": "errors",
    "row_key": "digests",
    "seen": "clips",
    "text_digest": "digests",
}

__all__ = [
    "AffektError",
    "Cache",
    "CanaryError",
    "Clip",
    "DamagedError",
    "Features",
    "InputError",
    "Manifest",
    "MissingError",
    "Seen",
    "Space",
    "Spec",
    "SpecError",
    "audio_digest",
    "nearest",
    "row_key",
    "seen",
    "text_digest",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__():
    return __all__
