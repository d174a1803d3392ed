"""What computed a shard: library versions and hardware. Kept next to the rows, never in the key."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..encoder import Encoder

_PACKAGES = ("affekt", "numpy", "soundfile", "av", "soxr", "torch", "transformers", "tokenizers")


def provenance(encoder: Encoder) -> dict[str, Any]:
    """Name versions, processor and device.

    Examples
    --------
    >>> from affekt.extract import Encoder
    >>> sorted(provenance(Encoder("ngram")))[:3]
    ['affekt', 'av', 'device']
    """
    facts = {name: _version(name) for name in _PACKAGES}
    facts |= {"python": platform.python_version(), "machine": platform.machine()}
    facts["device"] = _device(str(encoder.backend.device))
    facts |= encoder.backend.provenance()
    return {name: value for name, value in facts.items() if value}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _device(device: str) -> str:
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return device
