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
    convolutions = _exact_convolutions()
    with product_precision("highest"), convolutions, torch.inference_mode(), on_current(device):
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
    if _settings_are_newer():
        backends: Any = torch.backends
        gpu, cpu = _BY_BACKEND[precision]
        with (
            _set([backends.cuda.matmul], "fp32_precision", gpu),
            _set([backends.mkldnn.matmul], "fp32_precision", cpu),
        ):
            yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _exact_convolutions() -> Iterator[None]:
    backends: Any = torch.backends
    on_cpu = [
        kind
        for name in ("conv", "rnn")
        if (kind := getattr(backends.mkldnn, name, None)) is not None  # since PyTorch 2.9
    ]
    if _settings_are_newer():
        places = [backends.cudnn.conv, backends.cudnn.rnn, *on_cpu]
        with _set(places, "fp32_precision", "ieee"):
            yield
        return
    # set alone, these do not turn the older settings off
    inexact = [kind for kind in on_cpu if kind.fp32_precision in ("tf32", "bf16")]
    with _set([backends.cudnn], "allow_tf32", False), _set(inexact, "fp32_precision", "ieee"):
        yield


def _settings_are_newer() -> bool:
    """Whether the process has set a precision by backend; PyTorch does not mix the two ways."""
    try:
        torch.get_float32_matmul_precision()
        _ = torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return True
    return False


@contextmanager
def _set(places: Sequence[Any], name: str, value: Any) -> Iterator[None]:
    before = [getattr(place, name) for place in places]
    for place in places:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, setting in zip(places, before, strict=True):
            setattr(place, name, setting)
