"""CUDA graphs of the simulated GPUs, what waits for a device, and which one is the current."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_leaves


class Graph:
    """A `torch.cuda.CUDAGraph`: what was recorded runs again in the same memory."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], Any]] = []
        self.before: dict[int, tuple[Any, Any]] = {}

    def recorded(self, func: Any, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Return an operation that also becomes a step of the graph."""
        written = [
            one.alias_info is not None and one.alias_info.is_write for one in func._schema.arguments
        ]
        names = [one.name for one in func._schema.arguments]

        def run(*args: Any, **kwargs: Any) -> Any:
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            changed = [given.get(n) for n, one in zip(names, written, strict=True) if one]
            for x in tree_leaves(changed):
                if isinstance(x, torch.Tensor):
                    storage = x.untyped_storage()
                    self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))
            made = compute(*args, **kwargs)
            if "empty" in func.__name__:
                made.zero_()  # no kernel fills it before it is read as positions
            known = {
                x.untyped_storage().data_ptr()
                for x in tree_leaves(given)
                if isinstance(x, torch.Tensor)
            }
            fresh = [x for x in tree_leaves(made) if isinstance(x, torch.Tensor)]
            if not all(x.untyped_storage().data_ptr() in known for x in fresh):
                self.steps.append(
                    lambda: [
                        a.copy_(b)
                        for a, b in zip(fresh, tree_leaves(compute(*args, **kwargs)), strict=True)
                    ]
                )
            elif any(written):
                self.steps.append(lambda: compute(*args, **kwargs))
            return made

        return run

    def replay(self) -> None:
        """Run all steps."""
        waits("a replay")
        with torch.no_grad():
            for step in self.steps:
                step()


capturing: list[Graph] = []


@contextlib.contextmanager
def capture(graph: Graph, stream: Stream | None = None) -> Iterator[None]:
    """Take the place of `torch.cuda.graph`; its own stream is of the first GPU in use."""
    capturing.append(graph)
    try:
        with on_device(0 if stream is None else stream.index):
            yield
    finally:
        capturing.pop()
        for storage, old in graph.before.values():
            storage.copy_(old)


def waits(what: str) -> None:
    """Raise while a graph is captured."""
    if capturing:
        raise RuntimeError(f"CUDA error: not permitted when stream is capturing: {what}")


COUNT = 2  # GPUs


class Current(threading.local):
    """The current GPU of a thread."""

    index = 0


current = Current()


class on_device:
    """Take the place of `torch.cuda.device`."""

    def __init__(self, device: Any) -> None:
        self.index = index_of(device)

    def __enter__(self) -> None:
        self.before, current.index = current.index, self.index

    def __exit__(self, *_: Any) -> None:
        current.index = self.before


def index_of(device: Any) -> int:
    """Return which GPU is meant."""
    device = torch.device(device) if isinstance(device, str) else device
    index = device if device is None or isinstance(device, int) else device.index
    if index is not None and index >= COUNT:
        raise RuntimeError("CUDA error: invalid device ordinal")
    return current.index if index is None else index


class Stream:
    """A stream or an event; everything is in order."""

    def __init__(self, device: Any = None, **_: Any) -> None:
        self.index = index_of(device)

    def wait_stream(self, other: Stream) -> None: ...

    def record(self, stream: Stream) -> None: ...

    def synchronize(self) -> None:
        """Wait, which a capture does not allow."""
        waits("synchronize")
