"""Which part of a space a head sees: layers, and how they are combined."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from .errors import InputError, nearest

if TYPE_CHECKING:
    from .manifest import Manifest
    from .space import Space

Combine = Literal["concat", "mean", "mix"]
COMBINE = get_args(Combine)


@dataclass(frozen=True)
class Features:
    """A choice of layers of a space.

    Parameters
    ----------
    space : Space
        Where the embeddings are stored.
    layers : tuple of int
        Layers, counted from 0.
    combine : {"concat", "mean", "mix"}
        "concat" and "mix" give the layers side by side ("mix" tells the head to learn a weight for
        each), "mean" gives their mean.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Cache, Manifest
    >>> from affekt.cache.care.exchange import import_space
    >>> clips = Manifest.from_rows([{"id": "a", "text": "good"}, {"id": "b", "text": "bad"}])
    >>> values = {"a": np.ones((2, 3)), "b": np.zeros((2, 3))}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     space, _ = import_space(Cache(folder), values, clips, "toy")
    ...     both = space.features("all", combine="mix")
    ...     both.n_layers, both.width, both.read(clips).shape
    (2, 6, (2, 6))
    """

    space: Space
    layers: tuple[int, ...]
    combine: str = "concat"

    def __post_init__(self):
        if self.combine not in COMBINE:
            raise InputError(
                f"combine is {self.combine!r}, expected one of {', '.join(COMBINE)}."
                + nearest(self.combine, COMBINE)
            )
        if not self.layers:
            raise InputError("features need at least one layer")

    @property
    def n_layers(self) -> int:
        """Number of layers as the head sees them."""
        return 1 if self.combine == "mean" else len(self.layers)

    @property
    def width(self) -> int:
        """Number of columns that `read` gives."""
        return self.n_layers * self.space.dim

    def read(self, clips: Manifest) -> np.ndarray:
        """Return the features ``(clips, width)`` in float32, in the order of `clips`.

        Raises
        ------
        MissingError
            Clips that are not stored.
        """
        values = self.space.cache.read(self.space, clips, list(self.layers))
        return combine_layers(values, self.combine)

    def describe(self) -> dict[str, Any]:
        """Return what is written into a model: space, spec key, layers, combine."""
        return {
            "space": self.space.name,
            "spec_key": self.space.key,
            "layers": list(self.layers),
            "combine": self.combine,
        }


def combine_layers(values: np.ndarray, combine: str) -> np.ndarray:
    """Return chosen layers ``(clips, layers, dim)`` as one input ``(clips, width)``.

    Examples
    --------
    >>> layers = np.ones((2, 3, 4), np.float32)
    >>> combine_layers(layers, "mean").shape, combine_layers(layers, "concat").shape
    ((2, 4), (2, 12))
    """
    if combine == "mean":
        return values.mean(axis=1, dtype=np.float32)
    return values.reshape(len(values), values.shape[1] * values.shape[2])


def pick_layers(layers: int | str | Iterable[int] | None, count: int) -> tuple[int, ...]:
    """Return layers counted from 0; negative numbers count from the end, "all" and None are all.

    Raises
    ------
    InputError
        A layer that the space does not have.

    Examples
    --------
    >>> pick_layers(-1, 13), pick_layers([0, -2], 13), len(pick_layers("all", 13))
    ((12,), (0, 11), 13)
    """
    if layers is None or (isinstance(layers, str) and layers == "all"):
        return tuple(range(count))
    try:
        wanted = [layers] if isinstance(layers, (int, np.integer)) else [*layers]
    except TypeError:
        wanted = None
    if wanted is None or isinstance(layers, str):
        raise InputError(f"layers is {layers!r}, expected a number, a list of numbers or 'all'")
    for layer in wanted:
        if (
            isinstance(layer, bool)
            or not isinstance(layer, (int, np.integer))
            or not -count <= layer < count
        ):
            there = f"layers 0 to {count - 1} (or -{count} to -1)"
            raise InputError(
                f"layer {layer!r} is not there: the space has "
                f"{there if count > 1 else 'one layer, 0 (or -1)'}"
            )
    return tuple(int(layer) % count for layer in wanted)
