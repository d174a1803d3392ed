"""What is between the products of a step: one kernel each by Triton, or plain PyTorch.

All members are along the first axis. Whatever takes `partial` writes there what each block of rows
adds to the gradient of a vector (a bias, a norm): the blocks of all of them are summed at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import kernels
from .hashed_dropout import Drop
from .kernels import BLOCK, LARGEST, triton


def is_fused(tensor: Tensor) -> bool:
    """Return whether Triton's kernels compute this; on a CPU only in Triton's interpreter."""
    return triton is not None and (tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1")


def blocks(rows: int) -> int:
    """Return into how many blocks of rows the kernels cut."""
    return -(-rows // BLOCK)


def gather(x: Tensor, order: Tensor, rows: Tensor, lead: int, drop: Drop, out: Tensor) -> Tensor:
    """Write the features of this step's rows, between zeros, and the positions of the rows.

    Parameters
    ----------
    x : Tensor (all rows, width)
    order : Tensor (members, all rows), int64
        The order of the rows for each member in this epoch.
    rows : Tensor (members, rows), int64
        Is overwritten.
    lead : int
        Zeros before the features.
    out : Tensor (members, rows, numbers)
        Is overwritten; there are zeros after the features too, up to the end.
    """
    members, count, numbers = out.shape
    clock = drop.chance.clock
    if is_fused(x):
        kernels.gather[(count, triton.cdiv(numbers, 1024), members)](
            x, order, rows, out, order.shape[1], count, x.shape[1], lead, numbers, *drop.given,
            1024, drop.p > 0,
        )  # fmt: skip
        return out
    start = int(clock[1])
    rows.copy_(order[:, start : start + count])
    out.zero_()
    out[:, :, lead : lead + x.shape[1]] = x[rows].to(out.dtype)
    return out if drop.p == 0 else out.mul_(drop.factors(out))


def placed(made: Tensor, first: Tensor, bias: Tensor, position: Tensor, low: torch.dtype) -> Pair:
    """Return tokens: what was made of patches, with a bias (the first one: `first`) and positions.

    Parameters
    ----------
    made : Tensor (members, rows * positions, width)
    first, bias : Tensor (members, width)
    position : Tensor (members, positions, width)
    """
    members, count, width = made.shape
    positions = position.shape[1]
    if is_fused(made):
        pair = Pair.empty(made, low)
        size = triton.next_power_of_2(width)
        kernels.placed[(count, members)](
            made, first, bias, position, *pair, count, positions, width,
            first.stride(0), bias.stride(0), position.stride(0), size, pair.two,
        )  # fmt: skip
        return pair
    table = position + torch.cat([first[:, None], bias[:, None].expand(-1, positions - 1, -1)], 1)
    return Pair.of((made.view(members, -1, positions, width) + table[:, None]).view_as(made), low)


def placed_backward(
    grads: tuple[Tensor, Tensor], every: int, to_first: Tensor, to_bias: Tensor,
    to_position: Tensor, low: torch.dtype,
) -> Tensor:  # fmt: skip
    """Return the gradient of `made`, and write those of the other arguments of `placed`.

    Parameters
    ----------
    grads : pair of Tensor (members, rows * positions, width)
        Gradients of the tokens, to be added. The first one is of each `every`-th token only.
    to_first : Tensor (members, width)
    to_bias : Tensor (members, blocks, width)
        Partial sums.
    to_position : Tensor (members, positions, width)
    """
    first, second = grads
    members, positions, width = to_position.shape
    count = second.shape[1] // positions
    if is_fused(second):
        out = torch.empty_like(second, dtype=low)
        kernels.placed_backward[(positions, triton.cdiv(width, 64), members)](
            first, second, out, to_first, to_bias, to_position, count, every, positions, width,
            to_first.stride(0), to_bias.stride(0), to_bias.stride(1), to_position.stride(0),
            triton.cdiv(count, 32), 32, 64,
        )  # fmt: skip
        return out
    total = second.clone()
    total[:, ::every] += first
    torch.sum(total.view(members, count, positions, width), 1, out=to_position)
    to_first.copy_(to_position[:, 0])
    to_bias[:, 0] = to_position[:, 1:].sum(1)
    return total.to(low)


def sum_blocks(partial: Tensor, grads: Tensor) -> None:
    """Write the sums of partial gradients (members, blocks, vectors) before other gradients.

    Parameters
    ----------
    grads : Tensor (members, numbers)
    """
    members, count, vectors = partial.shape
    if is_fused(partial):
        kernels.sum_blocks[(triton.cdiv(vectors, 64), members)](
            partial, grads, count, vectors, grads.shape[1], triton.cdiv(count, 32), 32, 64
        )
    else:
        torch.sum(partial, 1, out=grads[:, :vectors])


@dataclass(frozen=True)
class Pair:
    """Numbers in float32, and as products take them; one tensor where these are float32 too."""

    full: Tensor
    low: Tensor

    @classmethod
    def of(cls, full: Tensor, low: torch.dtype) -> Pair:
        """Convert numbers."""
        return cls(full, full.to(low))

    @classmethod
    def empty(cls, like: Tensor, low: torch.dtype) -> Pair:
        """Make room."""
        full = torch.empty_like(like, memory_format=torch.contiguous_format)
        return cls(full, full if low == full.dtype else torch.empty_like(full, dtype=low))

    def __iter__(self) -> Any:
        return iter((self.full, self.low))

    @property
    def two(self) -> bool:
        """Whether there are two tensors."""
        return self.full is not self.low


def attention(
    made: Tensor, bias: Tensor, heads: int, positions: int, queries: int, drop: Drop,
    low: torch.dtype, *, exact: bool = True,
) -> Tensor:  # fmt: skip
    """Return what the first `queries` positions of each row find.

    Parameters
    ----------
    made : Tensor (members, rows * positions, 3 * width)
        Queries, keys and values, without their bias (members, 3 * width).
    exact : bool
        Products of the kernel are float32, not TF32.

    Returns
    -------
    Tensor (members, rows * queries, width)
    """
    members, count, width = made.shape[0], made.shape[1] // positions, made.shape[2] // 3
    if is_fused(made):
        out = made.new_empty((members, count * queries, width), dtype=low)
        kernels.attention[(count, heads, members)](
            made, bias, out, bias.stride(0), *drop.given,
            *_attention_sizes(count, positions, queries, width, heads, drop, exact), num_warps=2,
        )  # fmt: skip
        return out
    query, key, value = _by_head(made + bias[:, None], heads, positions)
    query = query[:, :, :, :queries]
    weights = (query @ key.transpose(-1, -2) * key.shape[-1] ** -0.5).softmax(-1)
    weights = weights * drop.factors(weights)
    return (weights @ value).transpose(2, 3).reshape(members, count * queries, width).to(low)


def attention_backward(
    grad: Tensor, made: Tensor, bias: Tensor, heads: int, positions: int, queries: int,
    drop: Drop, partial: Tensor, low: torch.dtype, *, exact: bool = True,
) -> Tensor:  # fmt: skip
    """Return the gradient of `made`; `grad` is that of what `attention` returned."""
    members, count, width = made.shape[0], made.shape[1] // positions, made.shape[2] // 3
    if is_fused(made):
        out = torch.empty_like(made, dtype=low)
        kernels.attention_backward[(count, heads, members)](
            grad, made, bias, out, partial, bias.stride(0), partial.stride(0), partial.stride(1),
            *drop.given, *_attention_sizes(count, positions, queries, width, heads, drop, exact),
            num_warps=2,
        )  # fmt: skip
        return out
    query, key, value = _by_head(made + bias[:, None], heads, positions)
    query, scale = query[:, :, :, :queries], key.shape[-1] ** -0.5
    weights = (query @ key.transpose(-1, -2) * scale).softmax(-1)
    factors = drop.factors(weights)
    grad = grad.view(members, count, queries, heads, -1).transpose(2, 3)
    to_value = (weights * factors).transpose(-1, -2) @ grad
    to_weights = grad @ value.transpose(-1, -2) * factors
    to_scores = weights * (to_weights - (to_weights * weights).sum(-1, keepdim=True)) * scale
    to_made = torch.zeros_like(made)
    to_query, to_key, to_seen = _by_head(to_made, heads, positions)
    to_query[:, :, :, :queries] = to_scores @ key
    to_key.copy_(to_scores.transpose(-1, -2) @ query)
    to_seen.copy_(to_value)
    partial[:, 0] = to_made.sum(1)
    return to_made.to(low)


def _by_head(made: Tensor, heads: int, positions: int) -> tuple[Tensor, Tensor, Tensor]:
    """View as queries, keys and values (members, rows, heads, positions, size of a head)."""
    split = made.view(len(made), -1, positions, 3, heads, made.shape[2] // (3 * heads))
    query, key, value = split.unbind(3)
    return query.transpose(2, 3), key.transpose(2, 3), value.transpose(2, 3)


def _attention_sizes(
    count: int, positions: int, queries: int, width: int, heads: int, drop: Drop, exact: bool
) -> tuple[Any, ...]:
    size = width // heads
    padded = (max(16, triton.next_power_of_2(one)) for one in (positions, queries, size))
    return (
        count,
        positions,
        queries,
        width,
        size,
        size**-0.5,
        *padded,
        drop.p > 0,
        "ieee" if exact else "tf32",
    )


def add_norm(
    x: Tensor, every: int, made: Tensor, vectors: Sequence[Tensor], eps: float, drop: Drop,
    low: torch.dtype,
) -> tuple[Pair, Tensor, Tensor]:  # fmt: skip
    """Return ``norm(x + dropout(made + bias))``, and what it is before the weights of the norm.

    Parameters
    ----------
    x : Tensor (members, rows * every, width)
        Only every so manieth row is read.
    made : Tensor (members, rows, width)
    vectors : Tensors (members, width)
        The bias, and weight and bias of the norm.

    Returns
    -------
    y : Pair
    normal : Tensor (members, rows, width)
    rate : Tensor (members, rows)
        One by the standard deviation.
    """
    members, count, width = made.shape
    bias, weight, shift = vectors
    if is_fused(made):
        pair, normal, rate = (
            Pair.empty(made, low),
            torch.empty_like(made),
            made.new_empty(made.shape[:2]),
        )
        kernels.add_norm[(triton.cdiv(count, 4), members)](
            x, made, bias, weight, shift, *pair, normal, rate, count, every, eps,
            bias.stride(0), *drop.given, width, triton.next_power_of_2(width), 4,
            drop.p > 0, pair.two,
        )  # fmt: skip
        return pair, normal, rate
    total = x[:, ::every] + (made + bias[:, None]) * drop.factors(made)
    variance, mean = torch.var_mean(total, -1, correction=0, keepdim=True)
    rate = (variance + eps).rsqrt()
    normal = (total - mean) * rate
    return Pair.of(normal * weight[:, None] + shift[:, None], low), normal, rate[..., 0]


def add_norm_backward(
    grads: tuple[Tensor | None, Tensor], every: int, made_normal: tuple[Tensor, Tensor],
    weight: Tensor, drop: Drop, partials: Sequence[Tensor], low: torch.dtype,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the gradients of `x` and of `made`.

    Parameters
    ----------
    grads : pair of Tensor (members, rows, width)
        Gradients of y, to be added. The first one may be missing, or be of every so manieth row.
    made_normal : pair of Tensor
        As `add_norm` returned them.
    partials : Tensors (members, blocks, width)
        Of bias, weight and shift.
    """
    normal, rate = made_normal
    members, count, width = normal.shape
    first, second = grads
    to_bias, to_weight, to_shift = partials
    if is_fused(normal):
        to_x, to_made = torch.empty_like(normal), torch.empty_like(normal, dtype=low)
        kernels.add_norm_backward[(blocks(count), members)](
            second if first is None else first, second, normal, rate, weight, to_x, to_made,
            to_bias, to_weight, to_shift, count, every, weight.stride(0), to_bias.stride(0),
            to_bias.stride(1), *drop.given, width, triton.next_power_of_2(width), BLOCK,
            first is not None, drop.p > 0,
        )  # fmt: skip
        return to_x, to_made
    grad = second.clone()
    if first is not None:
        grad[:, ::every] += first
    to_shift[:, 0], to_weight[:, 0] = grad.sum(1), (grad * normal).sum(1)
    grad = grad * weight[:, None]
    inner = (grad * normal).mean(-1, keepdim=True)
    to_x = rate[..., None] * (grad - grad.mean(-1, keepdim=True) - normal * inner)
    to_made = to_x * drop.factors(to_x)
    to_bias[:, 0] = to_made.sum(1)
    return to_x, to_made.to(low)


def relu_drop(made: Tensor, bias: Tensor, drop: Drop, low: torch.dtype) -> Tensor:
    """Return ``dropout(relu(made + bias))`` of (members, rows, units)."""
    members, count, units = made.shape
    if is_fused(made):
        out = torch.empty_like(made, dtype=low)
        size = min(256, triton.next_power_of_2(units))
        kernels.relu_drop[(blocks(count), triton.cdiv(units, size), members)](
            made, bias, out, count, units, bias.stride(0), *drop.given, size, BLOCK, drop.p > 0
        )
        return out
    return ((made + bias[:, None]).relu() * drop.factors(made)).to(low)


def relu_drop_backward(
    grad: Tensor, out: Tensor, drop: Drop, partial: Tensor, low: torch.dtype
) -> Tensor:
    """Return the gradient of `made`; `out` is what `relu_drop` returned."""
    members, count, units = grad.shape
    if is_fused(grad):
        to_made = torch.empty_like(grad, dtype=low)
        size = min(256, triton.next_power_of_2(units))
        kernels.relu_drop_backward[(blocks(count), triton.cdiv(units, size), members)](
            grad, out, to_made, partial, count, units, partial.stride(0), partial.stride(1),
            drop.scale, size, BLOCK,
        )  # fmt: skip
        return to_made
    to_made = grad * (out > 0) * drop.scale
    partial[:, 0] = to_made.sum(1)
    return to_made.to(low)


def cross_entropy(
    logits: Tensor, rows: Tensor, target: Tensor, shift: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the loss of each member (members,), and the gradient of the logits.

    Parameters
    ----------
    logits : Tensor (members, rows, classes)
    rows : Tensor (members, rows)
        Positions in `target`.
    target : Tensor (all rows, classes)
    shift : Tensor (classes,), optional
        Is added to the logits.
    """
    members, count, classes = logits.shape
    height, width = (1 << (one - 1).bit_length() for one in (count, classes))
    if is_fused(logits) and height * width <= LARGEST:
        losses, grad = logits.new_empty(members), torch.empty_like(logits)
        kernels.cross_entropy[(members,)](
            logits, rows, target, target if shift is None else shift, losses, grad, count, classes,
            height, width, shift is not None,
        )  # fmt: skip
        return losses, grad
    log_p = (logits if shift is None else logits + shift).log_softmax(-1)
    mass = target[rows]
    total = mass.sum((1, 2)).clamp_min(torch.finfo(log_p.dtype).tiny)
    losses = -(mass * log_p).sum((1, 2)) / total
    return losses, (log_p.exp() * mass.sum(-1, keepdim=True) - mass) / total[:, None, None]
