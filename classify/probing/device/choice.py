"""Where a probe computes, decided without torch, which takes seconds to load."""

from __future__ import annotations

import ctypes
import os

from ....cache.errors import InputError
from ....extract.encoders.hardware.device import find_device

ENOUGH = 7e9  # weights x clips; the processor needs some 5 s, as torch and a GPU do to start


def choose_device(device: str, work: float) -> str:
    """Return "cpu" or the name of a CUDA device.

    Parameters
    ----------
    device : str
        ``"auto"`` takes a GPU where there is one and enough to do.
    work : float
        Clips x features x classes, summed over all models.

    Examples
    --------
    >>> choose_device("cpu", 1e12), choose_device("auto", 1e6)
    ('cpu', 'cpu')
    """
    if device == "cpu" or (device == "auto" and (work < ENOUGH or not _has_driver())):
        return "cpu"
    found = find_device(device)
    if found != "cpu" and not found.startswith("cuda"):
        raise InputError(f"device {device!r} has no float64; expected auto, cpu, cuda or cuda:N")
    return found


def _has_driver() -> bool:
    """Whether there is a driver of NVIDIA's."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True
