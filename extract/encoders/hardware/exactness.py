"""The precision of float32 products: what a process may have set, such as TF32, changes numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from .device import on_current

# float32 products by `set_float32_matmul_precision`, in the newer settings of a GPU and a CPU
_BY_BACKEND = {"highest": ("ieee", "ieee"), "high": ("tf32", "tf32"), "medium": ("tf32", "bf16")}


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
    exact = product_precision("highest"), _exact_convolutions()
    with exact[0], exact[1], torch.inference_mode(), on_current(device):
        yield


@contextmanager
def product_precision(precision: str) -> Iterator[None]:
    """Run with this `torch.set_float32_matmul_precision`, then restore the setting.

    Examples
    --------
    >>> with product_precision("medium"):
    ...     torch.get_float32_matmul_precision()
    'medium'
    >>> torch.get_float32_matmul_precision()
    'highest'
    """
    backends: Any = torch.backends
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # the process set a newer setting, and PyTorch does not mix the two
        gpu, cpu = _BY_BACKEND[precision]
        with _set([backends.cuda.matmul], gpu), _set([backends.mkldnn.matmul], cpu):
            yield
        return
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _exact_convolutions() -> Iterator[None]:
    backends: Any = torch.backends
    try:
        before = backends.cudnn.allow_tf32
    except RuntimeError:
        places = [
            backends.cudnn.conv,
            backends.cudnn.rnn,
            backends.mkldnn.conv,
            backends.mkldnn.rnn,
        ]
        with _set(places, "ieee"):
            yield
        return
    backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        backends.cudnn.allow_tf32 = before


@contextmanager
def _set(places: Sequence[Any], precision: str) -> Iterator[None]:
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = precision
    try:
        yield
    finally:
        for place, setting in zip(places, before, strict=True):
            place.fp32_precision = setting
