"""CUDA graphs of the simulated GPU, and what waits for the device."""

from __future__ import annotations

import contextlib
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
def capture(graph: Graph) -> Iterator[None]:
    """Take the place of `torch.cuda.graph`."""
    capturing.append(graph)
    try:
        yield
    finally:
        capturing.pop()
        for storage, old in graph.before.values():
            storage.copy_(old)


def waits(what: str) -> None:
    """Raise while a graph is captured."""
    if capturing:
        raise RuntimeError(f"CUDA error: not permitted when stream is capturing: {what}")


class Stream:
    """A stream or an event; everything is in order."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def wait_stream(self, other: Stream) -> None: ...

    def record(self, stream: Stream) -> None: ...

    def synchronize(self) -> None:
        """Wait, which a capture does not allow."""
        waits("synchronize")
