"""What kind of processor this is, where the fastest way to multiply depends on it."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch

from .exactness import product_precision


@cache
def onednn_is_faster() -> bool:
    """Return whether PyTorch's float32 products should go to oneDNN, not to MKL.

    MKL does not use AVX-512 on processors of AMD. PyTorch calls oneDNN where products may be
    bfloat16 (`torch.set_float32_matmul_precision("medium")`); without AMX they are float32 all the
    same, which is checked here.

    Examples
    --------
    >>> isinstance(onednn_is_faster(), bool)
    True
    """
    return _is_amd() and _medium_is_exact()


@cache
def attention_by_products() -> bool:
    """Return whether attention in bfloat16 is faster as two products than by PyTorch's own kernel.

    That kernel uses AMX; without, it computes in float32.

    Examples
    --------
    >>> isinstance(attention_by_products(), bool)
    True
    """
    cpu: Any = torch.cpu
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    if not all(hasattr(cpu, name) for name in names):
        return False
    bfloat16, amx = (getattr(cpu, name)() for name in names)
    return bfloat16 and not amx


def _is_amd() -> bool:
    listed = Path("/proc/cpuinfo")
    return "AuthenticAMD" in (listed.read_text() if listed.exists() else platform.processor())


def _medium_is_exact() -> bool:
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 256, generator=random), torch.randn(256, 64, generator=random)
    with product_precision("medium"):
        made = a @ b
    exact = a.double() @ b.double()
    return bool((made - exact).norm() < 1e-6 * exact.norm())
