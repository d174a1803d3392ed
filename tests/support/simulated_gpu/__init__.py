"""A simulated CUDA device: tensors on "cuda" compute on the CPU, under the rules of a GPU.

Start pytest with ``-p tests.support.simulated_gpu``. There are two GPUs. What a GPU refuses is
refused: operations on tensors of two devices, a Triton kernel on tensors of another device than the
current GPU, and waiting for the device while a CUDA graph is captured. A capture changes nothing; a
replay computes again in the same memory. Where Triton is installed, its kernels run with
``TRITON_INTERPRET=1``. Not simulated: speed, memory, the order of streams, the rounding of a GPU's
kernels.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from .graph import COUNT, Graph, Stream, capture, capturing, current, on_device, waits
from .tensor import Dispatch, Function, OnGpu, attend_nested, held


@contextlib.contextmanager
def fork_rng(**_: Any) -> Iterator[None]:
    """Take the place of `torch.random.fork_rng`; the CPU's random numbers serve the GPU too."""
    before = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(before)


def inference_mode(mode: Any = True) -> Any:
    """Take the place of `torch.inference_mode`, which these tensors do not know."""
    if callable(mode):
        return torch.no_grad()(mode)
    return torch.no_grad() if mode else contextlib.nullcontext()


def pytest_configure() -> None:
    """Give this process a simulated GPU for good."""
    random = torch.default_generator
    vars(torch.cuda).update(
        _simulated=True, is_available=lambda: True, is_initialized=lambda: True,
        _lazy_init=lambda: None,
        device_count=lambda: COUNT, current_device=lambda: current.index,
        get_device_name=lambda *_: "simulated", get_device_capability=lambda *_: (9, 0),
        mem_get_info=lambda *_: (2**34, 2**34), memory_reserved=lambda *_: 0,
        memory_allocated=lambda *_: 0, empty_cache=lambda: None,
        synchronize=lambda *_: waits("synchronize"), current_stream=Stream,
        is_current_stream_capturing=lambda: bool(capturing),
        manual_seed=random.manual_seed, get_rng_state=lambda *_: random.get_state(),
        set_rng_state=lambda state, *_: random.set_state(state),
        get_device_properties=lambda *_: SimpleNamespace(total_memory=2**34, major=9, minor=0),
        Stream=Stream, Event=Stream, CUDAGraph=Graph, graph=capture,
        stream=lambda one: on_device(one.index), device=on_device,
    )  # fmt: skip
    torch.random.fork_rng = fork_rng  # type: ignore[assignment]
    torch.inference_mode = inference_mode  # type: ignore[assignment,misc]
    # compiled functions would make their tensors on the CPU
    torch.jit.script = lambda function, *_, **__: function  # type: ignore[assignment]
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    _group_in_python()
    _enter()
    plain = threading.Thread.run
    threading.Thread.run = lambda self: (_enter(), plain(self))[1]  # type: ignore[method-assign]
    import_module("affekt.extract.encoders.packed.attention")._attend_nested = attend_nested
    if find_spec("triton"):
        _interpret()


def _enter() -> None:
    Dispatch().__enter__()  # modes are those of a thread
    Function().__enter__()


def _group_in_python() -> None:
    names = "optim.optimizer", "utils._foreach_utils", "nn.utils.clip_grad"
    modules = [import_module(f"torch.{name}") for name in names]
    name = "_group_tensors_by_device_and_dtype"
    plain = getattr(modules[0], name)

    def grouped(*args: Any, **kwargs: Any) -> Any:
        found = plain(*args, **kwargs)  # by the device that C++ sees
        return {(one[0][0][0].device, key[1]): one for key, one in found.items()}

    for module in modules:
        setattr(module, name, grouped)


def _interpret() -> None:
    executor = import_module("triton.runtime.interpreter").GridExecutor
    plain = executor.__call__

    def run(self: Any, *args: Any, **kwargs: Any) -> None:
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        assert all(isinstance(x, OnGpu) for x in given), "a kernel cannot read a CPU tensor"
        assert {x.index for x in given} == {current.index}, "a kernel starts on the current GPU"
        args, kwargs = tree_map(held, (args, kwargs))

        def step() -> None:
            with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
                plain(self, *args, **dict(kwargs))

        capturing[-1].steps.append(step) if capturing else step()

    executor.__call__ = run
