"""Layers that several networks share: quick ones, and a learnt mix of an encoder's layers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

STEPS = 1 << 16  # levels a probability is rounded to; what is kept is scaled accordingly


def dropped(x: Tensor, p: float) -> Tensor:
    """Return `x` with each number zeroed with probability `p`, the others scaled to keep the mean.

    Draws from the generator of the process, 64 bits for four numbers. PyTorch's own draws a
    float64 for each number.

    Examples
    --------
    >>> dropped(torch.ones(2), 0.0).tolist(), dropped(torch.ones(2), 1.0).tolist()
    ([1.0, 1.0], [0.0, 0.0])
    """
    if x.device.type != "cpu":
        return nn.functional.dropout(x, p)
    by = factors(x, p)
    return x if by is None else x * by


def random_bits() -> np.random.SFC64:
    """Return a quick generator for many draws, seeded by the generator of the process."""
    return np.random.SFC64(int(torch.empty((), dtype=torch.int64).random_()))


def factors(like: Tensor, p: float, bits: np.random.BitGenerator | None = None) -> Tensor | None:
    """Return what dropout multiplies by (None: by 1); see `drawn`."""
    kept, scale = drawn(like, p, bits)
    if kept is None:
        return None
    kind = like.detach().numpy().dtype.type
    return torch.from_numpy(kept.numpy() * kind(scale))  # NumPy takes truth values as they are


def drawn(
    like: Tensor, p: float, bits: np.random.BitGenerator | None = None
) -> tuple[Tensor | None, float]:
    """Return what dropout keeps (None: everything), and what to scale it by.

    Parameters
    ----------
    bits : numpy.random.BitGenerator, optional
        Where the draws come from; the generator of the process without it.
    """
    zeroed = round(p * STEPS)
    if zeroed == 0:
        return None, 1.0
    if zeroed == STEPS:
        return torch.zeros_like(like, dtype=torch.bool), 1.0
    count = -(-like.numel() // 4)
    if bits is None:
        words = torch.empty(count, dtype=torch.int64).random_(-(2**63), None).numpy()
    else:
        words = bits.random_raw(count)
    numbers = words.view(np.int16)[: like.numel()]
    kept = torch.from_numpy(numbers >= zeroed - STEPS // 2)  # four times as fast as torch.ge
    return kept.view(like.shape), STEPS / (STEPS - zeroed)


def zeroed_(x: Tensor, kept: Tensor | None) -> Tensor:
    """Zero in place what is not kept; outside of autograd, on a CPU."""
    if kept is not None:
        np.multiply(x.numpy(), kept.numpy(), out=x.numpy())
    return x


def dropped_(x: Tensor, p: float) -> float:
    """Do in place what `dropped` does, on a CPU; return what kept numbers were multiplied by."""
    kept, scale = drawn(x, p)
    if kept is not None:
        values = x.numpy()  # of (units, rows) a view: masks in its order take a fourth of the time
        values *= np.asarray(kept.numpy(), order="C" if x.is_contiguous() else "F")
        values *= scale
    return scale


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` by `dropped`.

    Examples
    --------
    >>> Dropout(0.5).eval()(torch.ones(2)).tolist()
    [1.0, 1.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the input, in training with zeros."""
        return dropped(input, self.p) if self.training else input


class Linear(nn.Linear):
    """`torch.nn.Linear` of rows (rows, features), quicker in training on a CPU.

    MKL multiplies a wide matrix by few rows in two thirds of the time that it takes for few rows
    by a wide matrix.

    Examples
    --------
    >>> layer, x = Linear(3, 2), torch.ones(4, 3)
    >>> torch.allclose(layer.train()(x), layer.eval()(x))
    True
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input @ weight.T + bias``."""
        if self.training and input.device.type == "cpu":
            return (self.weight @ input.t()).t() + self.bias
        return super().forward(input)


class LayerMix(nn.Module):
    """Weigh the layers of an embedding with one softmax weight each, learnt with the head.

    Parameters
    ----------
    layers : int
        The input `(clips, layers * dim)` becomes `(clips, dim)`. The weights start equal.

    References
    ----------
    M. E. Peters and others: Deep Contextualized Word Representations, NAACL 2018;
    S. Yang and others: SUPERB, Interspeech 2021.

    Examples
    --------
    >>> import torch
    >>> LayerMix(2)(torch.tensor([[1.0, 2.0, 3.0, 6.0]])).tolist()
    [[2.0, 4.0]]
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layer_scores = nn.Parameter(torch.zeros(layers))

    @property
    def weights(self) -> Tensor:
        """The softmax weights (layers,)."""
        return self.layer_scores.softmax(0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted mean over layers (clips, dim)."""
        stacked = x.unflatten(1, (len(self.layer_scores), -1))  # (clips, layers, dim)
        return torch.einsum("l,cld->cd", self.weights, stacked)
