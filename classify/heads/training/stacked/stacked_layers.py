"""Layers of all members at once: forward and backward written out, without autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .flat_weights import FlatWeights
from .fused import (
    Pair,
    add_norm,
    add_norm_backward,
    attention,
    attention_backward,
    blocks,
    relu_drop,
    relu_drop_backward,
    sum_blocks,
)  # fmt: skip
from .hashed_dropout import Chance, Drop


def product(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the products of two batches of matrices in float32, `b` as (members, in, out)."""
    if a.dtype == torch.float32:
        return torch.bmm(a, b, out=out) if out is not None else torch.bmm(a, b)
    if out is None:
        out = torch.empty((len(a), a.shape[1], b.shape[2]), device=a.device)
    if a.is_cuda and hasattr(torch.ops.aten.bmm, "dtype_out"):  # from PyTorch 2.8
        return torch.ops.aten.bmm.dtype_out(a, b, torch.float32, out=out)
    return out.copy_(torch.bmm(a.float(), b.float()))


class Stacked:
    """A network of all members, whose weights and gradients are in `weights`.

    A subclass has `lead` and `numbers` (see `fused.gather`), dropout of the features as `first`,
    `forward` and `backward`.

    Parameters
    ----------
    weights : FlatWeights
    chance : Chance
    """

    lead: int
    numbers: int
    exact: bool = True  # products within kernels are float32, not TF32

    def __init__(self, weights: FlatWeights, chance: Chance) -> None:
        self.weights, self.chance = weights, chance
        self.low, self.device = weights.low.dtype, weights.values.device
        self.places = 0
        self.first = self.drop(0.0)
        self.partials: dict[int, Tensor] = {}
        # the gradients of matrices, which nothing in the step waits for
        self.beside = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.used: list[tuple[Tensor, Tensor]] = []  # by them: not to be overwritten yet

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (members, rows, outputs) of gathered features (members, rows, numbers)."""
        raise NotImplementedError

    def backward(self, grad: Tensor) -> None:
        """Write the gradients of all weights, given that of the outputs."""
        raise NotImplementedError

    def begin(self, rows: int) -> None:
        """Make room for the partial sums of gradients, for batches of this many rows."""
        self.rows = rows
        if rows not in self.partials:
            size = (len(self.weights.values), self._blocks(rows), self.weights.vectors)
            self.partials[rows] = torch.zeros(size, device=self.device)

    def end(self) -> None:
        """Sum the partial gradients of vectors, and wait for those of matrices."""
        if self.beside is not None:
            torch.cuda.current_stream().wait_stream(self.beside)
            self.used.clear()
        sum_blocks(self.partials[self.rows], self.weights.grads)

    def _blocks(self, rows: int) -> int:
        return blocks(rows)

    def partial(self, name: str) -> Tensor:
        """Return where the partial gradients of a vector go (members, blocks, numbers)."""
        start, shape = self.weights.places[name]
        return self.partials[self.rows][:, :, start : start + shape.numel()]

    def drop(self, p: float) -> Drop:
        """Return dropout at a place of its own."""
        self.places += 1
        return Drop(p, self.places, self.chance)

    def times(self, x: Tensor, name: str) -> Tensor:
        """Return ``x @ weight.T``."""
        return product(x, self.weights.matrix(name).transpose(1, 2))

    def back(self, grad: Tensor, x: Tensor, name: str) -> Tensor:
        """Write the gradient of a matrix, and return that of `x`."""
        self.learn(grad, x, name)
        return product(grad, self.weights.matrix(name))

    def learn(self, grad: Tensor, x: Tensor, name: str) -> None:
        """Write the gradient of a matrix that `x` was multiplied with, next to other work."""
        if self.beside is None:
            product(grad.transpose(1, 2), x, self.weights.grad(name))
            return
        self.beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.beside):
            product(grad.transpose(1, 2), x, self.weights.grad(name))
        self.used.append((grad, x))


class StackedLayer:
    """A `torch.nn.TransformerEncoderLayer` with ReLU, the norms after the sums."""

    def __init__(self, net: Stacked, layer: Any, name: str, positions: int, queries: int) -> None:
        self.net, self.name = net, name
        self.positions, self.queries = positions, queries
        self.heads = layer.self_attn.num_heads
        self.eps = layer.norm1.eps, layer.norm2.eps
        self.drops = [
            net.drop(p)
            for p in (
                layer.self_attn.dropout, layer.dropout1.p, layer.dropout.p, layer.dropout2.p
            )
        ]  # fmt: skip

    def forward(self, x: Pair) -> Pair:
        """Return tokens (members, rows * queries, width) of (members, rows * positions, width)."""
        net, weights, low = self.net, self.net.weights, self.net.low
        weighing, after, inside, last = self.drops

        def vectors(*names: str) -> Any:
            return [weights[self.name + name] for name in names]

        every = self.positions // self.queries
        made = net.times(x.low, self.name + "self_attn.in_proj_weight")
        bias = weights[self.name + "self_attn.in_proj_bias"]
        found = attention(
            made, bias, self.heads, self.positions, self.queries, weighing, low, exact=net.exact
        )
        out = net.times(found, self.name + "self_attn.out_proj.weight")
        norm = vectors("self_attn.out_proj.bias", "norm1.weight", "norm1.bias")
        y, normal1, rate1 = add_norm(x.full, every, out, norm, self.eps[0], after, low)
        made1 = net.times(y.low, self.name + "linear1.weight")
        inner = relu_drop(made1, weights[self.name + "linear1.bias"], inside, low)
        out = net.times(inner, self.name + "linear2.weight")
        norm = vectors("linear2.bias", "norm2.weight", "norm2.bias")
        z, normal2, rate2 = add_norm(y.full, 1, out, norm, self.eps[1], last, low)
        self.saved = x.low, made, found, (normal1, rate1), y.low, inner, (normal2, rate2)
        return z

    def backward(self, first: Tensor | None, second: Tensor, every: int) -> tuple[Tensor, Tensor]:
        """Return the gradient of `x` in two parts, given that of what `forward` returned in two.

        The first part has only the positions that are read, every so manieth.
        """
        net, weights, name, low = self.net, self.net.weights, self.name, self.net.low
        x, made, found, normal1, y, inner, normal2 = self.saved
        weighing, after, inside, last = self.drops

        def partials(*names: str) -> Any:
            return [net.partial(name + one) for one in names]

        to_sum, to_out = add_norm_backward(
            (first, second), every, normal2, weights[name + "norm2.weight"], last,
            partials("linear2.bias", "norm2.weight", "norm2.bias"), low,
        )  # fmt: skip
        to_inner = net.back(to_out, inner, name + "linear2.weight")
        to_inner = relu_drop_backward(
            to_inner, inner, inside, net.partial(name + "linear1.bias"), low
        )
        to_y = net.back(to_inner, y, name + "linear1.weight")
        to_sum, to_out = add_norm_backward(
            (to_sum, to_y), 1, normal1, weights[name + "norm1.weight"], after,
            partials("self_attn.out_proj.bias", "norm1.weight", "norm1.bias"), low,
        )  # fmt: skip
        to_found = net.back(to_out, found, name + "self_attn.out_proj.weight")
        bias = weights[name + "self_attn.in_proj_bias"]
        to_made = attention_backward(
            to_found, made, bias, self.heads, self.positions, self.queries, weighing,
            net.partial(name + "self_attn.in_proj_bias"), low, exact=net.exact,
        )  # fmt: skip
        return to_sum, net.back(to_made, x, name + "self_attn.in_proj_weight")


class StackedMLP:
    """Linear layers with ReLU and dropout between, as a `torch.nn.Sequential` has them."""

    def __init__(self, net: Stacked, layers: Any, name: str) -> None:
        self.net = net
        places = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
        self.names = [f"{name}{i}." for i in places]
        self.drops = [net.drop(layers[i + 2].p) for i in places[:-1]]

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (members, rows, outputs) of (members, rows, width)."""
        net, self.saved = self.net, [x]
        for name, drop in zip(self.names, self.drops, strict=False):
            made = net.times(self.saved[-1], name + "weight")
            self.saved.append(relu_drop(made, net.weights[name + "bias"], drop, net.low))
        last = self.names[-1]
        return net.times(self.saved[-1], last + "weight") + net.weights[last + "bias"][:, None]

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient of what the first product gave, as products take it."""
        net, names = self.net, self.names
        torch.sum(grad, 1, out=net.partial(names[-1] + "bias")[:, 0])
        grad = grad.to(net.low)
        for i in range(len(names) - 1, 0, -1):
            to_x = net.back(grad, self.saved[i], names[i] + "weight")
            place = net.partial(names[i - 1] + "bias")
            grad = relu_drop_backward(to_x, self.saved[i], self.drops[i - 1], place, net.low)
        net.learn(grad, self.saved[0], names[0] + "weight")
        return grad
