"""What an encoder family gives: vectors for one batch of ready inputs, and a description.

A backend knows nothing of files, manifests, segments, long-clip policies or caches. It gets
one-dimensional float32 samples at its own sampling rate, or NFC texts, that were checked before;
it answers one `Pooled` (or one `Unusable`) per input, in order.

**A row never depends on its neighbours**: the same input gives the same vector in any batch, at
any place, within 1e-6 relative L2 (float32 on a CPU).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .errors import Unusable

__all__ = ["Backend", "Pooled"]


@dataclass(frozen=True, slots=True)
class Pooled:
    """The embedding of one input (or of one window of it).

    Attributes
    ----------
    values : numpy.ndarray
        ``(layers, dim)`` float32, pooled over the input's own frames or tokens only.
    frames : int
        How many frames (tokens) were pooled; the weight when windows of one clip are merged.
    flags : tuple of str
        Remarks about the row, for example ``"truncated_tokens"``.
    """

    values: np.ndarray
    frames: int
    flags: tuple[str, ...] = ()


class Backend(Protocol):
    """The face of an encoder family (`Spectral`, `Ngram`, a transformers model).

    Attributes
    ----------
    name : str
        As shown to people, and the stem of the space's folder.
    modality : str
        ``"audio"`` or ``"text"``.
    n_layers, dim : int
        Axes of `Pooled.values`; known before `load`.
    sampling_rate : int
        Hz; audio only, 0 for text.
    min_samples : int
        Fewer samples than this are never passed in; audio only, 0 for text.
    pooling : str
        How frames became one vector: one of `encoders.pooling.POOLINGS`, or a family's own
        word (its windows are then merged like means).
    labels : tuple of str or None
        Class names in column order, where the vectors are class probabilities.

    Notes
    -----
    A backend may also have ``batch_clips`` (int) and ``batch_seconds`` (float): how much of a
    manifest the loop should pass to one `embed`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def modality(self) -> str: ...  # noqa: D102

    @property
    def n_layers(self) -> int: ...  # noqa: D102

    @property
    def dim(self) -> int: ...  # noqa: D102

    @property
    def sampling_rate(self) -> int: ...  # noqa: D102

    @property
    def min_samples(self) -> int: ...  # noqa: D102

    @property
    def pooling(self) -> str: ...  # noqa: D102

    @property
    def labels(self) -> tuple[str, ...] | None: ...  # noqa: D102

    def describe(self) -> dict[str, Any]:
        """Say what decides the numbers, without loading weights.

        Returns
        -------
        dict
            Keys ``encoder``, ``processor``, ``layers`` (``semantics``, ``count``, ``dim``),
            ``pooling`` and ``compute``; JSON values only, and floats as strings.
        """
        ...

    def load(self) -> None:
        """Bring the weights into memory; called once, before the first `embed`."""
        ...

    def embed(self, inputs: Sequence[Any]) -> Sequence[Pooled | Unusable]:
        """Embed one batch: 1-D float32 arrays at `sampling_rate`, or texts.

        One bad input is one `Unusable` in the answer. `MemoryError` and
        ``torch.OutOfMemoryError`` may be raised: the caller halves the batch.
        """
        ...
