"""How an extraction would spread over several workers: ``affekt extract --plan N``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...cache.commands.terminal import aligned
from ...cache.errors import InputError
from ...cache.identity.spec import Spec
from ...cache.manifest import Manifest
from ...cache.manifest.selection import content_column
from .parts import group_numbers
from .plan import Plan
from .progress import human_time


@dataclass(frozen=True)
class Share:
    """What ``--part part/of`` has to do.

    Attributes
    ----------
    part, of : int
        Which part, counted from 1.
    clips : int
        Clips to compute.
    audio_seconds : float
        Rough length of their audio, judged by size; 0 for text.
    bytes, stored_bytes : int
        To read, and to store.
    seconds : float
        To compute it at the speed that was measured on this machine.
    """

    part: int
    of: int
    clips: int
    audio_seconds: float
    bytes: int
    stored_bytes: int
    seconds: float


def spread(clips: Manifest, planned: Plan, spec: Spec, count: int) -> list[Share]:
    """Spread what a plan has to compute over `count` workers, as ``--part i/count`` does it.

    Parameters
    ----------
    planned : Plan
        Of all its clips, with estimates and a measured speed.
    spec : Spec
        Of the space, for the size of a row.
    count : int
        Workers.
    """
    if count < 1:
        raise InputError(f"a plan for {count} workers, expected 1 or more")
    column = clips[content_column(spec.modality)]
    part = group_numbers(column)[planned.positions] % count

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(part, values, count)

    number = np.bincount(part, minlength=count)
    read = total(planned.sizes)
    length = np.zeros(count) if planned.lengths is None else total(planned.lengths)
    amount = number if planned.lengths is None else length
    whole = amount.sum()
    seconds = amount / whole * (planned.seconds or 0.0) if whole else np.zeros(count)
    row = spec.n_layers * spec.dim * np.dtype(spec.store_dtype).itemsize
    return [
        Share(
            part=i + 1,
            of=count,
            clips=int(number[i]),
            audio_seconds=round(float(length[i]), 1),
            bytes=int(read[i]),
            stored_bytes=int(number[i]) * row,
            seconds=round(float(seconds[i]), 1),
        )
        for i in range(count)
    ]


def spread_table(planned: Plan, shares: list[Share]) -> str:
    """Return the shares as a table, and how long all of it takes."""
    rows = [("part", "clips", "audio hours", "GB to read", "GB to store", "time")]
    rows += [
        (
            f"{one.part}/{one.of}",
            str(one.clips),
            f"{one.audio_seconds / 3600:.1f}",
            f"{one.bytes / 1e9:.3g}",
            f"{one.stored_bytes / 1e9:.3g}",
            human_time(one.seconds),
        )
        for one in shares
    ]
    slowest = max(one.seconds for one in shares)
    return "\n".join(
        [
            f"{planned.clips} clips: {planned.hits} stored, {planned.misses} to compute",
            *aligned(rows, left=0),
            *([f"{planned.refused} will be refused: too large, or sparse"] * (planned.refused > 0)),
            f"about {human_time(slowest)} with {len(shares)} machines like this one,"
            f" {human_time(sum(one.seconds for one in shares))} with one",
        ]
    )
