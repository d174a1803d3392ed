"""The canary of a space: fixed synthetic inputs, embedded when the space was made.

Library versions are not part of a spec, as most change nothing; the canary shows when one does. It
is embedded again before a process stores its first row, and compared before rounding to the stored
type.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import h5py
import numpy as np

from ..errors import CanaryError, DamagedError, InputError
from ..files.durable import publish
from ..identity.spec import Spec
from ..shards.safe_hdf5 import attribute, check_kind, dataset, open_plain, set_text
from ..shards.shard import VERSION

KIND = "affekt canary"
FORMAT = 1
TOLERANCE = 1e-3  # relative L2 of a layer, for float32
TOLERANCE_HALF = 1e-2  # for float16 and bfloat16


def read_canary(path: Path) -> np.ndarray | None:
    """Return the stored canary ``(inputs, layers, dim) float32``, or None if there is none.

    Raises
    ------
    DamagedError
        It is not what was written.
    NewerError
        Newer than this affekt.
    """
    try:
        with open_plain(path) as file:
            check_kind(file, KIND, FORMAT)
            values = dataset(file, "values", (None, None, None), "f")[()]
            if _digest(values) != attribute(file, "sha256", str):
                raise DamagedError(f"{path}: damaged; affekt cache repair sets it aside")
    except FileNotFoundError:
        return None
    return values


def write_canary(path: Path, tmp: Path, values: np.ndarray) -> bool:
    """Store a canary, unless there is one; return whether it was stored."""
    values = np.ascontiguousarray(values, "<f4")
    if values.ndim != 3 or not values.size or not np.isfinite(values).all():
        raise InputError(f"a canary has finite values (inputs, layers, dim), not {values.shape}")
    image = io.BytesIO()
    with h5py.File(image, "w", libver=VERSION) as file:
        set_text(file, "kind", KIND)
        file.attrs["format"] = FORMAT
        set_text(file, "sha256", _digest(values))
        file["values"] = values
    return publish(image.getbuffer(), path, tmp)


def compare_canary(stored: np.ndarray, today: np.ndarray, spec: Spec) -> None:
    """Compare today's canary with the stored one."""
    if stored.shape != today.shape:
        raise CanaryError(
            f"{spec.name}: the canary has shape {today.shape}, expected {stored.shape} (inputs,"
            " layers, dim): this encoder is not the one that made the space"
        )
    half = "float32" not in str(spec.fields.get("compute", "float32"))
    limit = TOLERANCE_HALF if half else TOLERANCE
    moved = drift(stored, today)
    layers = np.flatnonzero(~(moved <= limit)).tolist()  # NaN counts as moved
    if layers:
        list_ = ", ".join(f"layer {layer} by {moved[layer]:.2g}" for layer in layers[:8])
        raise CanaryError(
            f"{spec.name}: the encoder computes differently from when the space was made: {list_}"
            f" (relative L2, allowed {limit:g}). Nothing was stored. Go back to the library"
            " versions that made the space, or extract into a new cache",
            layers,
        )


def drift(stored: np.ndarray, today: np.ndarray) -> np.ndarray:
    """Return how far each layer moved: relative L2 ``(layers,)``, the worst over the inputs.

    Examples
    --------
    >>> old = np.ones((1, 2, 4), np.float32)
    >>> drift(old, old * np.float32([[[1], [2]]])).tolist()
    [0.0, 1.0]
    """
    old, new = stored.astype(np.float64), today.astype(np.float64)
    size = np.linalg.norm(old, axis=2)
    distance = np.linalg.norm(new - old, axis=2)
    return (distance / np.maximum(size, np.finfo(np.float32).tiny)).max(axis=0)


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()
