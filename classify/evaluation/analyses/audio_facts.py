"""Duration, loudness and sampling rate of clips, for the shortcut audit.

Taken from columns of those names where the manifest has them, else from the files; a file that is
not available or cannot be read is simply unknown here, since extraction reports it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import InputError
from ....cache.files.kept_results import kept
from ....cache.identity.clip_index import RACY
from ....extract.errors import Unusable
from ....extract.inputs.audio_files import ClipReader
from ....extract.inputs.isolated_decoder import Decoder
from ....extract.running.feed import by_file

if TYPE_CHECKING:
    from ....cache.manifest import Manifest

NUMBERS = ("duration", "loudness", "sampling_rate")
FLAG = "separate_channels"
MOST_FILES = 2000
_OF_THE_MACHINE = ("out_of_memory", "decoder_crash")
LONGEST = 600.0  # seconds; longer clips have no facts
RATE = 16_000  # that loudness is measured at, in Hz


def facts(
    clips: Manifest, *, read: bool = True, limit: int = MOST_FILES, random_state: int = 0
) -> dict[str, list[float | None]]:
    """Return the facts of each clip: duration, loudness, sampling rate.

    Parameters
    ----------
    read
        Whether files may be opened.
    limit
        Most files that are read; a random draw of more clips, the others are unknown.
    random_state
        Seed of the draw.

    Returns
    -------
    facts
        `duration` in seconds, `loudness` of the channels' mean in dB relative to full scale,
        `sampling_rate` in Hz, `separate_channels` as 1.0 or 0.0 of files that were read; one value
        per clip, None where it is unknown.
    """
    found: dict[str, list[float | None]] = {FLAG: [None] * len(clips)}
    for name in NUMBERS:
        column = clips[name] if name in clips else [None] * len(clips)
        found[name] = [_number(value) for value in column]
    wanting = [name for name in NUMBERS if name not in clips]
    rows = [row for row, path in enumerate(clips["path"]) if path]
    if not read or not wanting or not rows:
        return found
    if len(rows) > limit:
        rows = np.random.default_rng(random_state).choice(rows, limit, replace=False).tolist()
    rows = sorted(rows)
    for row, values in zip(rows, _measured(clips, rows), strict=True):
        for name, value in values.items():
            if name in wanting or name == FLAG:
                found[name][row] = value
    return found


class _Silent(Exception):
    """An existing file could not be read, perhaps only this time."""


def _measured(clips: Manifest, rows: Sequence[int]) -> list[dict[str, float]]:
    """Return the facts of files; earlier ones where no file has changed."""
    now = time.time_ns()
    states = [_state(clips, row) for row in rows]
    measured: list[dict[str, float]] = []

    def measure() -> list[dict[str, float]]:
        files = ClipReader()
        found: dict[int, dict[str, float] | None] = {}
        with Decoder(always=False) as decoder:
            for row, more in by_file(clips, rows):
                found[row] = _of_file(clips, row, more, files, decoder)
        measured.extend(found[row] or {} for row in rows)
        if any(state["ns"] and found[row] is None for state, row in zip(states, rows, strict=True)):
            raise _Silent
        return measured

    ffmpeg = shutil.which("ffmpeg")
    inputs = [states, LONGEST, RATE, ffmpeg and Path(ffmpeg).stat().st_mtime_ns]
    changing = any(state["ns"] + RACY > now for state in states)  # within their time stamps
    with suppress(_Silent):
        return measure() if changing else kept("audio facts", inputs, measure)
    return measured


def _state(clips: Manifest, row: int) -> dict[str, Any]:
    """Return what identifies the audio of a clip; ``ns`` is 0 where there is no file."""
    clip = clips.clip(row)
    state: dict[str, Any] = {"path": clip.path, "times": [clip.start, clip.end], "ns": 0}
    with suppress(InputError, OSError):
        path = clips.file(row)
        state["path"], status = str(path), path.stat()
        state |= {"ns": status.st_mtime_ns, "ctime": status.st_ctime_ns}
        state |= {"size": status.st_size, "inode": status.st_ino}
    return state


def _of_file(
    clips: Manifest, row: int, more: bool, files: ClipReader, decoder: Decoder
) -> dict[str, float] | None:
    """Return the facts of a clip: {} if it cannot be decoded, None if it may be later."""
    clip = clips.clip(row)
    try:
        data = files.read(clips, row, more=more).data
    except Unusable:
        return None
    rules = {"damage": "accept", "max_seconds": LONGEST}
    [decoded] = decoder(data, [(clip.start, clip.end)], RATE, more=more, **rules)
    if isinstance(decoded, Unusable):
        return None if decoded.code in _OF_THE_MACHINE else {}
    power = float(np.mean(decoded.samples.astype(float) ** 2)) if decoded.samples.size else 0.0
    return {
        "duration": decoded.seconds,
        "loudness": 10 * float(np.log10(max(power, 1e-12))),
        "sampling_rate": float(decoded.file_rate),
        FLAG: float(FLAG in decoded.flags),
    }


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
