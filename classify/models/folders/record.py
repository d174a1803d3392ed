"""What a model was trained on and with: sizes, hashes, versions; never a name of a person."""

from __future__ import annotations

import platform
from collections import Counter
from importlib.metadata import PackageNotFoundError, version as installed
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ....cache.manifest import Manifest


def describe(clips: Manifest) -> dict[str, Any]:
    """Return size, content hash, labels and languages of the clips; speakers are only counted."""
    return {
        "clips": len(clips),
        "hash": clips.hash,
        "labels": dict(sorted(Counter(clips["label"]).items())),
        "speakers": len(set(clips["speaker"]) - {""}),
        "languages": dict(sorted(Counter(clips["language"]).items())),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a head's numbers."""
    names = ("affekt", "numpy", "scikit-learn", "torch")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def version(name: str) -> str:
    """Return the version of an installed package, or "unknown"."""
    try:
        return installed(name)
    except PackageNotFoundError:
        return "unknown"
