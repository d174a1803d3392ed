"""Which networks train at once, how many of them, and heads that differ in nothing but the seed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

MOST = 64  # networks; fewer keep a GPU busy, and all wait for the last one that stops early
_SHARE = 0.5  # of the memory that is free
# bytes of a weight: itself, its gradient, AdamW's two moments, bfloat16, the best epoch's, and a
# copy while a step is captured
_WEIGHT = 40
# bytes of a number that goes into a product or comes out of it, with what is between: twice for
# each of two graphs
_NUMBER = 64


def fit_at_once(heads: Sequence[Any], X: Any, y: Any, **given: Any) -> None:
    """Fit heads that differ in nothing but `random_state`, each as its own `fit` would.

    All networks draw from the seeds of their own head. Where they cannot train at once, one is
    trained after another.

    Parameters
    ----------
    heads : sequence of TorchEstimator
        Not fitted yet.
    X, y, **given
        As for the `fit` of a head.
    """
    first, *others = heads
    first._beside = others
    try:
        first.fit(X, y, **given)
    finally:
        del first._beside
    for head in others:
        vars(head).update({**vars(first), **vars(head)})


def stackable(build: Callable[[], nn.Module], device: torch.device) -> Any:
    """Return a network without numbers if those like it train at once here, or None."""
    if not _makes_kernels(device):
        return None
    with torch.device("meta"):
        network: Any = build()
    return network if hasattr(network, "stacked") and network.stacked() else None


def most_at_once(network: nn.Module, batch_size: int, device: torch.device) -> int:
    """Return how many networks like this one find room on a device, at least one.

    Examples
    --------
    >>> most_at_once(nn.Linear(8, 2), 32, torch.device("cpu"))
    64
    """
    if device.type != "cuda":
        return MOST
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(MOST, max(1, int(_SHARE * free / _bytes(network, batch_size))))


def _bytes(network: nn.Module, batch_size: int) -> int:
    weights = sum(one.numel() for one in network.parameters())
    numbers = sum(sum(one.shape) for one in network.parameters() if one.dim() == 2)
    position: Any = getattr(network, "position_embedding", None)
    tokens = batch_size * (1 if position is None else position.shape[1])
    return _WEIGHT * weights + _NUMBER * tokens * numbers


def _makes_kernels(device: torch.device) -> bool:
    """Return whether Triton can compile for this device; it needs a C compiler."""
    if device.type != "cuda" or find_spec("triton") is None:
        return False
    compilers = os.environ.get("CC", "cc"), "gcc", "clang"
    return any(map(shutil.which, compilers)) and torch.cuda.get_device_capability(device) >= (7, 0)
