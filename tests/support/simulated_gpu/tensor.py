"""Tensors of the simulated GPU, and the rules of operations on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from .graph import capturing, index_of, waits

aten: Any = torch.ops.aten
CPU = torch.device("cpu")
COPIES = {aten.copy_.default, aten._to_copy.default}
INDEXED = {
    aten.index.Tensor, aten.index_put_.default, aten.index_put.default,
    aten._index_put_impl_.default,
}  # fmt: skip
WITH_SCALARS = {aten.fill_.Tensor, *INDEXED}  # besides all pointwise operations
WAITS = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default,
    aten.equal.default, aten.is_nonzero.default, aten._unique2.default,
    aten.repeat_interleave.Tensor,
}  # fmt: skip
# a GPU sums these in float32 and rounds once; not every kernel of a CPU does
SUMS = {aten.convolution.default, aten.addmm.default, aten.mm.default, aten.bmm.default}
HALF = (torch.bfloat16, torch.float16)


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU. Its numbers are in `held`, on the CPU."""

    held: torch.Tensor
    index: int

    @staticmethod
    def __new__(cls, held: torch.Tensor, index: int) -> OnGpu:
        assert not isinstance(held, OnGpu)
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, layout=held.layout, device=held.device,
        )  # fmt: skip
        made.held, made.index = held, index
        return made

    def __init__(self, held: torch.Tensor, index: int) -> None: ...

    def __repr__(self, **_: Any) -> str:
        return f"{self.held!r} on a simulated GPU"

    def __deepcopy__(self, memo: Any) -> Any:
        made = self.detach().clone()
        if getattr(self, "_is_param", False):
            return torch.nn.Parameter(made, self.requires_grad)
        return made.requires_grad_(self.requires_grad)

    device = property(lambda self: torch.device("cuda", self.index))  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return call(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


def held(x: Any) -> Any:
    """Return what is in a tensor of the GPU, and other things as they are."""
    return x.held if isinstance(x, OnGpu) else x


def on_gpu(x: Any, index: int) -> Any:
    """Put what an operation returned on a GPU."""
    return OnGpu(x, index) if isinstance(x, torch.Tensor) else x


class Upload(torch.autograd.Function):
    """A copy from the CPU."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, dtype: torch.dtype, index: int) -> Any:
        ctx.dtype = x.dtype
        waits("a copy from the CPU")
        return OnGpu(x.detach().to(dtype, copy=True), index)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad.held.to(ctx.dtype), None, None


class Download(torch.autograd.Function):
    """A copy to the CPU."""

    @staticmethod
    def forward(ctx: Any, x: OnGpu, dtype: torch.dtype) -> Any:
        ctx.dtype, ctx.index = x.dtype, x.index
        waits("a copy to the CPU")
        return x.held.detach().to(dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return OnGpu(grad.to(ctx.dtype), ctx.index), None


def move(x: torch.Tensor, device: Any, dtype: Any, *, copy: bool = False) -> torch.Tensor:
    """Do what `torch.Tensor.to` does."""
    device, dtype = device or x.device, dtype or x.dtype
    if device.type == "meta":
        return held(x).to("meta", dtype)
    if device.type == "cuda":
        device = torch.device("cuda", index_of(device))
    if device == x.device:
        return x.type(dtype) if dtype != x.dtype else x.clone() if copy else x
    if device.type == "cpu":
        return Download.apply(x, dtype)
    return Upload.apply(Download.apply(x, dtype) if x.is_cuda else x, dtype, device.index)


def call(func: Any, args: Any, kwargs: Any) -> Any:
    """Run a function of torch; those that look at the device in C++ would see a CPU."""
    name, first = getattr(func, "__name__", ""), args[0] if args else None
    target = kwargs.get("device")
    if name in ("tensor", "as_tensor", "from_numpy", "asarray") and target is not None:
        rest = {k: v for k, v in kwargs.items() if k != "device"}
        return move(func(*args, **rest), torch.device(target), None)
    if name in ("pad_sequence", "one_hot", "quantile"):
        kinds = {type(x) for x in tree_leaves(args) if isinstance(x, torch.Tensor)}
        assert len(kinds) == 1, f"{name}: tensors of two devices"
        made = func(*tree_map(held, args), **kwargs)
        first = tree_leaves(args)[0]
        return on_gpu(made, first.index) if isinstance(first, OnGpu) else made
    if isinstance(first, torch.Tensor) and name == "to":
        like = [x for x in (*args[1:], kwargs.get("other")) if isinstance(x, torch.Tensor)]
        options = {k: v for k, v in kwargs.items() if k != "copy"}
        parsed = (
            (like[0].device, like[0].dtype)
            if like
            else torch._C._nn._parse_to(*args[1:], **options)
        )
        if isinstance(first, OnGpu) or (parsed[0] is not None and parsed[0].type == "cuda"):
            return move(first, *parsed[:2], copy=kwargs.get("copy", False))
    if isinstance(first, torch.Tensor) and name in ("pin_memory", "is_pinned"):
        assert not isinstance(first, OnGpu), "only dense CPU tensors can be pinned"
        return first.clone() if name == "pin_memory" else False
    if isinstance(first, OnGpu):
        if name == "cpu":
            return move(first, CPU, None)
        if name in ("numpy", "__array__"):
            raise TypeError("can't convert cuda device type tensor to numpy; use Tensor.cpu()")
        if name == "tolist":
            waits("tolist")
            return first.held.tolist()
        if name in ("data_ptr", "untyped_storage"):
            return getattr(first.held, name)()
        attribute = getattr(getattr(func, "__self__", None), "__name__", "")
        if name == "__set__" and attribute == "data":
            first.held = args[1].held
            return None
        if name == "__get__" and attribute in ("device", "is_cuda", "is_cpu"):
            return getattr(OnGpu, attribute).fget(first)
    return func(*args, **kwargs)


def dispatch(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation on the CPU, and put what it returns where a GPU would have it."""
    kwargs = {k: v for k, v in kwargs.items() if k != "pin_memory"}
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    gpu = [x for x in tensors if isinstance(x, OnGpu)]
    target = kwargs.get("device")
    if not gpu and (target is None or torch.device(target).type != "cuda"):
        return func(*args, **kwargs)
    if func.__name__.startswith("_varlen_attn"):
        return attend(func, args, kwargs)
    check(func, args, gpu, [x for x in tensors if not isinstance(x, OnGpu)])
    if target is not None:
        kwargs["device"] = CPU
    compute = partial_sums(func) if func in SUMS and gpu[0].dtype in HALF else func
    if func is aten.bmm.dtype_out:
        compute = wide_product
    if capturing:
        compute = capturing[-1].recorded(func, compute)
    made = compute(*tree_map(held, args), **tree_map(held, kwargs))
    if func is aten._local_scalar_dense.default:
        return made
    if func is aten.copy_.default:
        return args[0]
    index = gpu[0].index if gpu else index_of(torch.device(target))
    out = tree_map(lambda x: on_gpu(x, index), made)
    if not gpu or func is aten._to_copy.default:
        return out
    return return_and_correct_aliasing(func, args, kwargs, out)


def check(func: Any, args: Any, gpu: list, others: list) -> None:
    """Raise what a GPU would for an operation on tensors of two devices, or while capturing."""
    if func in COPIES or func in WAITS:
        if others or func in WAITS:
            waits(str(func))
        return
    if func in INDEXED:  # positions may be on the CPU
        others = [x for x in others if any(x is one for one in (args[0], *args[2:3]))]
        if any(x.dtype == torch.bool for x in gpu[1:]):
            waits(str(func))
    if len({x.index for x in gpu}) > 1:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device")
    scalars = torch.Tag.pointwise in func.tags or func in WITH_SCALARS
    if wrong := [tuple(x.shape) for x in others if x.dim() > 0 or not scalars]:
        raise RuntimeError(
            f"{func}: expected all tensors to be on the same device, but found at least two "
            f"devices, cuda:0 and cpu (of shape {wrong})"
        )


def partial_sums(func: Any) -> Callable[..., Any]:
    """Return an operation that computes in float32 and rounds at the end."""

    def run(*args: Any, **kwargs: Any) -> Any:
        wide = [x.float() if isinstance(x, torch.Tensor) else x for x in args]
        return func(*wide, **kwargs).to(args[0].dtype)

    return run


def wide_product(a: Any, b: Any, _dtype: Any, *, out: Any) -> Any:
    """Multiply in half precision into float32, which a CPU has no kernel for."""
    return out.copy_(torch.bmm(a.float(), b.float()))


def attend(func: Any, args: Any, kwargs: Any) -> Any:
    """Do what `torch.nn.attention.varlen` has a kernel for on a GPU alone."""
    names = [one.name for one in func._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    q, k, v, starts = (given[name] for name in ("query", "key", "value", "cu_seq_q"))
    assert all(isinstance(x, OnGpu) for x in (q, k, v, starts))
    assert starts.dtype == torch.int32
    assert q.dtype in HALF
    assert int(starts.held.diff().max()) <= given["max_q"]
    parts = [x.held.float() for x in (q, k, v)]
    made = attend_each(parts, starts.held, given.get("scale")).to(q.dtype)
    rest = len(func._schema.returns) - 1
    out = OnGpu(made, q.index)
    return (out, *[OnGpu(torch.zeros(1), q.index) for _ in range(rest)]) if rest else out


def attend_each(parts: Any, starts: torch.Tensor, scale: float | None) -> torch.Tensor:
    """Attend clip by clip: ``(frames, heads, size)``."""
    made = torch.empty_like(parts[0])
    for start, end in itertools.pairwise(starts.tolist()):
        q, k, v = (part[start:end].transpose(0, 1) for part in parts)
        found = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scale)
        made[start:end] = found.transpose(0, 1)
    return made


def attend_nested(parts: Any, pack: Any, scale: float) -> Any:
    """Take the place of nested tensors, which cannot hold these."""
    assert all(isinstance(x, OnGpu) for x in (*parts, pack.starts))
    return OnGpu(attend_each([x.held for x in parts], pack.starts.held, scale), parts[0].index)


class Dispatch(TorchDispatchMode):
    """For operations without a tensor of the GPU, such as `torch.zeros`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


class Function(TorchFunctionMode):
    """The same for functions."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})
