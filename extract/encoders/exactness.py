"""Switch off what a process may have set that changes numbers: TF32 and its relatives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["exact_arithmetic"]


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Compute in the type that was asked for, without gradients; restore the settings after.

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
    precision = torch.get_float32_matmul_precision()
    tf32 = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = tf32
