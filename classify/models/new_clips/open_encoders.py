"""Encoders that stay open between calls, so that only the first call loads them.

An encoder is known by its spec, so every model of a process that needs the same one shares it. It
is freed when the last predictor that used it is closed or forgotten.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from ....cache.errors import AffektError
from ....cache.identity.spec import Spec
from ....cache.rows.canary import compare_canary
from ....extract.backend import Pooled
from ....extract.encoder import Encoder
from ....extract.errors import Unusable

_SHARED: WeakValueDictionary[tuple[str, str], OpenEncoder] = WeakValueDictionary()
_OPENING = threading.RLock()


class OpenEncoder:
    """One encoder in memory; answers one thread at a time."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._lock = threading.Lock()
        self._today: np.ndarray | None = None  # what it answers to the canary's inputs

    def embed(self, inputs: Sequence[Any]) -> list[Pooled | Unusable]:
        """Embed a batch, as `Encoder.embed`."""
        with self._lock:
            try:
                return self.encoder.embed(inputs)
            except RuntimeError as error:
                raise AffektError(
                    f"{self.encoder.name} failed on {len(inputs)} clips: {error}"
                ) from error

    def check(self, canary: np.ndarray, spec: Spec) -> None:
        """Compare with what the encoder answered when a model was trained.

        Raises
        ------
        CanaryError
            It computes differently today.
        """
        with self._lock:
            if self._today is None:
                self._today = self.encoder.canary()
        compare_canary(canary, self._today, spec)


class OpenEncoders:
    """The encoders of one predictor: opened when first needed, kept until `close`.

    There are never more of them than the predictor's models have different specs.

    Examples
    --------
    >>> opened = OpenEncoders()
    >>> spec = Encoder("ngram").spec
    >>> opened.get(spec) is opened.get(spec), len(opened)
    (True, 1)
    >>> opened.close()
    """

    def __init__(self) -> None:
        self._mine: dict[str, OpenEncoder] = {}
        self._checked: set[tuple[str, str, int]] = set()

    def __len__(self) -> int:
        return len(self._mine)

    def get(
        self,
        spec: Spec,
        canary: np.ndarray | None = None,
        *,
        places: Sequence[str | os.PathLike[str]] = (),
        noted: Path | None = None,
        device: str = "auto",
    ) -> OpenEncoder:
        """Return the encoder of a spec; the first time it is opened and its canary compared.

        Parameters
        ----------
        canary : ndarray (inputs, layers, dim), optional
            What it answered when the model was trained.
        places, noted, device
            Where it may be; see `affekt.classify.models.new_clips.own_encoders.find_encoder`.

        Raises
        ------
        InputError
            No such encoder.
        SpecError, CanaryError
            It computes differently from the one that the model was trained on.
        """
        from .own_encoders import find_encoder

        own = spec.with_store_dtype("float32")  # how rows are stored does not change the encoder
        name = (own.key, device)
        with _OPENING:
            found = self._mine.get(own.key)
            if found is None or _SHARED.get(name) is not found:
                found = _SHARED.get(name)
                if found is None:
                    found = OpenEncoder(find_encoder(own, places, device, noted=noted))
                    _SHARED[name] = found
                self._mine[own.key] = found
            if canary is not None:
                seen = (*name, hash(canary.tobytes()))
                if seen not in self._checked:
                    found.check(canary, spec)
                    self._checked.add(seen)
        return found

    def close(self) -> None:
        """Release the encoders; the next call opens them again."""
        self._mine.clear()
        self._checked.clear()
        gc.collect()  # torch models have reference cycles
