"""Where a model computes: the check of a device's name, its options, and waiting for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click

from ....cache.errors import InputError, first_line

if TYPE_CHECKING:
    import torch


def find_device(device: str | None = "auto") -> str:
    """Return the name of a device that torch can use here.

    Parameters
    ----------
    device : str or None
        ``"auto"`` and None take CUDA if there is one, else the CPU; otherwise a name of torch's:
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    Examples
    --------
    >>> find_device("cpu")
    'cpu'
    """
    import torch

    if device is None or device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        if found.type == "meta":
            raise RuntimeError("meta tensors hold no numbers")
        if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
            raise RuntimeError(f"torch sees {torch.cuda.device_count()} CUDA devices")
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError, ImportError) as error:
        reason = first_line(error).split(". ")[0].rstrip(".")
        raise InputError(
            f"device {device!r} cannot be used here ({reason}); expected auto, cpu, cuda or cuda:N"
        ) from None
    return "cpu" if found.type == "cpu" else str(found)


def on_current(device: str | torch.device) -> AbstractContextManager[object]:
    """Make a GPU the current one: Triton starts kernels there, wherever their tensors are.

    Examples
    --------
    >>> with on_current("cpu"):
    ...     pass
    """
    import torch

    found = torch.device(device)
    return torch.cuda.device(found) if found.type == "cuda" else nullcontext()


def until_now(device: str) -> Callable[[], object]:
    """Return a function that waits for the work queued on a device so far, but no later work.

    Examples
    --------
    >>> wait = until_now("cpu")
    >>> wait()
    """
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    event = torch.cuda.Event(blocking=True)
    event.record(torch.cuda.current_stream(device))
    return event.synchronize


def _check(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value not in ("auto", "cpu"):  # these need no torch
        find_device(value)
    return value


DEVICE = click.option(
    "--device",
    default="auto",
    show_default=True,
    callback=_check,
    help="Device: auto, cpu, cuda, cuda:1 ...",
)

DTYPE = click.option(
    "--dtype", default="float32", show_default=True, help="Precision of the computation."
)
