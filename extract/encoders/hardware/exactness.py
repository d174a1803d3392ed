"""Switch off what a process may have set that changes numbers: TF32 and its relatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .device import on_current


@contextmanager
def exact_arithmetic(device: str = "cpu") -> Iterator[None]:
    """Compute in the type that was asked for, without gradients; restore the settings after.

    Parameters
    ----------
    device : str
        If it is a GPU, the one that kernels start on.

    Examples
    --------
    >>> torch.set_float32_matmul_precision("high")
    >>> with exact_arithmetic():
    ...     torch.get_float32_matmul_precision()
    'highest'
    >>> torch.get_float32_matmul_precision()
    'high'
    >>> torch.set_float32_matmul_precision("highest")
    """
    restore = _all_bits()
    try:
        with torch.inference_mode(), on_current(device):
            yield
    finally:
        restore()


def _all_bits() -> Callable[[], None]:
    """Require full float32 precision; return a function that restores the settings."""
    try:
        precision, tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:  # the process set a newer setting, and PyTorch does not mix the two
        return _all_bits_by_backend()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False

    def restore() -> None:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = tf32

    return restore


def _all_bits_by_backend() -> Callable[[], None]:
    backends: Any = torch.backends
    places = [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]
    places += [backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn]
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee"

    def restore() -> None:
        for place, setting in zip(places, before, strict=True):
            place.fp32_precision = setting

    return restore
