"""What an encoder family is: a class that turns one batch of checked inputs into vectors.

A backend does not handle files, manifests, segments, long clips or caches. It gets
one-dimensional float32 samples at its own sampling rate, or NFC texts, that were checked before;
it returns one `Pooled` (or one `Unusable`) per input, in order.

**A row never depends on its neighbours**: the same input gives the same vector in any batch, at
any place, within 1e-6 relative L2 (float32 on a CPU).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cache.errors import InputError
from .errors import Unusable


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


class Backend(ABC):
    """Base class of every encoder: `Spectral`, `Ngram`, a transformers model, or your own.

    A subclass sets `name`, `modality` and `dim` (and `sampling_rate` for audio), and writes
    `embed`. Everything else has a default. See ``docs/how-to/encoder.md``.

    Attributes
    ----------
    name : str
        As displayed, and the stem of the space's folder.
    modality : str
        ``"audio"`` or ``"text"``.
    dim, n_layers : int
        Axes of `Pooled.values`; known before `load`.
    sampling_rate : int
        Hz; audio only.
    min_samples, max_samples : int
        Audio: shorter clips are never passed in; longer ones are cut or refused, as
        ``Encoder(long=...)`` says. 0: no limit.
    pooling : str
        How frames became one vector: one of `affekt.extract.pooling.POOLINGS`, or a word of your
        own. Windows of a long clip are merged accordingly, and like means for other words.
    labels : tuple of str or None
        Class names in column order, where the vectors are class probabilities.
    version : str
        Of the code; change it whenever a number changes. It is part of the spec.
    weights : sequence of path
        Files that decide the numbers; their sha256 is part of the spec.
    device : str
        Where it computes, as torch spells it.
    batch_clips, batch_seconds : int, float
        The most clips, and seconds of audio, in one `embed`. 0: a default for the device.
    notes : sequence of str
        What a user should know about this encoder; printed after an extraction.

    Examples
    --------
    >>> class Length(Backend):
    ...     name, modality, dim = "length", "text", 1
    ...     def embed(self, inputs):
    ...         return [Pooled(np.array([[len(text)]], np.float32), len(text)) for text in inputs]
    >>> from affekt.extract import Encoder
    >>> Encoder.of(Length()).embed(["good"])[0].values.tolist()
    [[4.0]]
    """

    name: str = ""
    modality: str = ""
    n_layers: int = 1
    dim: int = 0
    sampling_rate: int = 0
    min_samples: int = 0
    max_samples: int = 0
    pooling: str = "mean"
    labels: tuple[str, ...] | None = None
    version: str = "1"
    weights: Sequence[str | Path] = ()
    device: str = "cpu"
    batch_clips: int = 0
    batch_seconds: float = 0.0
    notes: Sequence[str] = ()

    def describe(self) -> dict[str, Any]:
        """Return what decides the numbers, without loading weights.

        Returns
        -------
        dict
            Keys ``encoder``, ``processor``, ``layers`` (``semantics``, ``count``, ``dim``),
            ``pooling`` and ``compute``; JSON values only, and floats as strings. By default
            `version` and the sha256 of `weights` describe the encoder.
        """
        return {
            "encoder": {"version": str(self.version), **self._weights()},
            "processor": {},
            "layers": {"semantics": "own", "count": self.n_layers, "dim": self.dim},
            "pooling": self.pooling,
            "compute": {"dtype": "float32"},
        }

    def load(self) -> None:  # noqa: B027 - most encoders have nothing to load
        """Bring the weights into memory; called once, before the first `embed`."""

    @abstractmethod
    def embed(self, inputs: Sequence[Any]) -> Sequence[Pooled | Unusable]:
        """Embed one batch: 1-D float32 arrays at `sampling_rate`, or texts.

        One bad input is one `Unusable` in the answer. `MemoryError` and
        ``torch.OutOfMemoryError`` may be raised: the caller halves the batch.
        """

    def provenance(self) -> Mapping[str, Any]:
        """Return how it was computed, beyond what decides the numbers; kept next to the rows."""
        return {}

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a CUDA device."""
        return str(self.device).startswith("cuda")

    def _weights(self) -> dict[str, Any]:
        found = {}
        for path in map(Path, self.weights):
            try:
                with path.open("rb") as file:
                    found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise InputError(
                    f"{self.name}: cannot read its weights {path}: {error.strerror}"
                ) from None
        return {"weights": found} if found else {}


class _Adapted(Backend):
    """An object that can embed and is not a subclass of `Backend`, with defaults for the rest."""

    def __init__(self, own: Any) -> None:
        self._embed = own.embed
        for name in vars(Backend):
            if not name.startswith("_") and name not in ("embed", "on_gpu") and hasattr(own, name):
                setattr(self, name, getattr(own, name))

    def embed(self, inputs: Sequence[Any]) -> Sequence[Pooled | Unusable]:
        return self._embed(inputs)


def as_backend(own: Any) -> Backend:
    """Return an object as a backend, checked before any work."""
    what = own.__name__ if isinstance(own, type) else type(own).__name__
    if isinstance(own, type):
        raise InputError(f"{what} is a class; expected an instance, such as Encoder.of({what}())")
    if not callable(getattr(own, "embed", None)):
        raise InputError(
            f"{what} is not an encoder; expected an instance of a subclass of "
            "affekt.extract.Backend"
        )
    backend = own if isinstance(own, Backend) else _Adapted(own)
    positive, whole = "a whole number above 0", "a whole number, 0 or more"
    audio = backend.modality == "audio"
    labels = backend.labels
    for name, expected, good in (
        ("name", "text", isinstance(backend.name, str) and backend.name.strip()),
        ("modality", "'audio' or 'text'", backend.modality in ("audio", "text")),
        ("n_layers", positive, _whole(backend.n_layers, 1)),
        ("dim", positive, _whole(backend.dim, 1)),
        ("sampling_rate", f"{positive} (Hz)", not audio or _whole(backend.sampling_rate, 1)),
        ("min_samples", whole, _whole(backend.min_samples, 0)),
        ("max_samples", whole, _whole(backend.max_samples, 0)),
        ("pooling", "text", isinstance(backend.pooling, str)),
        ("labels", "None, or a name for each column", labels is None or _names(labels, backend)),
        ("weights", "a list of paths", not isinstance(backend.weights, str | Path)),
    ):
        if not good:
            raise InputError(f"{what}.{name} is {getattr(backend, name)!r}; expected {expected}")
    return backend


def _whole(value: Any, least: int) -> bool:
    is_number = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_number and bool(value >= least)


def _names(labels: Any, backend: Backend) -> bool:
    return (
        not isinstance(labels, str)
        and all(isinstance(one, str) for one in labels)
        and len(set(labels)) == len(labels) == backend.dim
    )
