"""The front end of a model: one clip or text becomes its input tensors, alone.

A front sees one input at a time, so nothing of a neighbour (a mean, a padding, a length) can enter
it. Batches are made afterwards, by `collate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from ....cache.errors import InputError
from ...errors import Unusable


@dataclass(frozen=True)
class Example:
    """One input, ready for the model.

    Attributes
    ----------
    tensors : dict of str to torch.Tensor
        The model's keyword arguments for this row, without the axis of rows; time is axis 0.
    keep : torch.Tensor
        ``(frames,)`` bool: the frames or tokens of the model's output that are pooled.
    size : int
        What it costs, in frames or tokens; batches are made of similar sizes.
    lengths : dict of str to int
        Per module that runs clip by clip: the row's own length at its input.
    flags : tuple of str
        Remarks for the row.
    """

    tensors: dict[str, torch.Tensor]
    keep: torch.Tensor
    size: int
    lengths: dict[str, int]
    flags: tuple[str, ...] = ()


class Front(Protocol):
    """What every front provides.

    Attributes
    ----------
    sampling_rate, min_samples, max_samples : int
        Hz and samples; 0 for text, and where there is no upper limit.
    mask : str or None
        Name of the tensor that marks what is not padding; None where the model takes none.
    """

    sampling_rate: int
    min_samples: int
    max_samples: int
    mask: str | None

    def describe(self) -> dict[str, Any]:
        """Return the ``processor`` part of the spec."""
        ...

    def prepare(self, item: Any) -> Example:
        """Make the model's input; raises `Unusable`."""
        ...

    def probe(self) -> Any:
        """Return a small valid input, always the same."""
        ...


def check_samples(item: Any, front: Front) -> np.ndarray:
    """Check one clip's samples."""
    if not isinstance(item, np.ndarray) or item.ndim != 1 or item.dtype != np.float32:
        shape = getattr(item, "shape", type(item).__name__)
        raise InputError(
            f"got samples of shape {shape} and type {getattr(item, 'dtype', '?')}; expected one "
            "mono clip: a one-dimensional float32 array. Mix the channels down first"
        )
    if len(item) < front.min_samples:
        raise Unusable(
            "too_short", f"{len(item)} samples; the encoder needs at least {front.min_samples}"
        )
    if front.max_samples and len(item) > front.max_samples:
        raise Unusable(
            "too_long",
            f"{len(item) / front.sampling_rate:.1f} s; the encoder takes "
            f"{front.max_samples / front.sampling_rate:g} s at once",
        )
    if not np.isfinite(item).all():
        raise Unusable("non_finite_input")
    return item


def collate(
    examples: Sequence[Example], padding: dict[str, int], mask: str | None
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Pad examples into one batch.

    Parameters
    ----------
    examples : sequence of Example
        At least one.
    padding : dict of str to int
        Value by tensor name; 0 for the others. The mask is padded with 0 always.
    mask : str or None
        The mask's name. It is left out where every row is full, as for a single clip.

    Returns
    -------
    inputs : dict of str to torch.Tensor
        ``(rows, length, ...)`` each.
    keep : torch.Tensor
        ``(rows, frames)`` bool.

    Examples
    --------
    >>> one = Example({"x": torch.ones(2), "m": torch.ones(2)}, torch.ones(2) > 0, 2, {})
    >>> two = Example({"x": torch.ones(1), "m": torch.ones(1)}, torch.ones(1) > 0, 1, {})
    >>> inputs, keep = collate([one, two], {"x": 7}, "m")
    >>> inputs["x"].tolist(), keep.tolist()
    ([[1.0, 1.0], [1.0, 7.0]], [[True, True], [True, False]])
    >>> sorted(collate([one, one], {}, "m")[0])
    ['x']
    """
    inputs = {
        name: _padded([e.tensors[name] for e in examples], padding.get(name, 0))
        for name in examples[0].tensors
    }
    if mask and bool(inputs[mask].all()):
        del inputs[mask]
    return inputs, _padded([e.keep for e in examples], 0)


def _padded(rows: list[torch.Tensor], value: int) -> torch.Tensor:
    if len(rows) == 1:
        return rows[0].unsqueeze(0)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
