"""Duration, loudness and sampling rate of clips, for the shortcut audit.

Taken from columns of those names where the manifest has them, else from the files; a file that is
not at hand or cannot be read is simply unknown here, since extraction reports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ....extract.errors import Unusable
from ....extract.inputs.audio_files import read_clip
from ....extract.inputs.isolated_decoder import Decoder

if TYPE_CHECKING:
    from ....cache.manifest import Manifest

NUMBERS = ("duration", "loudness", "sampling_rate")
MOST_FILES = 2000
LONGEST = 600.0  # seconds; of longer clips nothing is said
RATE = 16_000  # that loudness is measured at, in Hz


def facts(
    clips: Manifest, *, read: bool = True, limit: int = MOST_FILES, random_state: int = 0
) -> dict[str, list[float | None]]:
    """Return what can be known of each clip without listening.

    Parameters
    ----------
    clips
        The manifest.
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
        `sampling_rate` in Hz; one value per clip, None where it is unknown.
    """
    found: dict[str, list[float | None]] = {}
    for name in NUMBERS:
        column = clips[name] if name in clips else [None] * len(clips)
        found[name] = [_number(value) for value in column]
    wanting = [name for name in NUMBERS if name not in clips]
    rows = [row for row, path in enumerate(clips["path"]) if path]
    if not read or not wanting or not rows:
        return found
    if len(rows) > limit:
        rows = np.random.default_rng(random_state).choice(rows, limit, replace=False).tolist()
    with Decoder(always=False) as decoder:
        for row in sorted(rows):
            for name, value in _of_file(clips, row, decoder).items():
                if name in wanting:
                    found[name][row] = value
    return found


def _of_file(clips: Manifest, row: int, decoder: Decoder) -> dict[str, float]:
    clip = clips.clip(row)
    try:
        data = read_clip(clips, row).data
    except Unusable:
        return {}
    rules = {"damage": "accept", "max_seconds": LONGEST}
    [heard] = decoder(data, [(clip.start, clip.end)], RATE, **rules)
    if isinstance(heard, Unusable):
        return {}
    power = float(np.mean(heard.samples.astype(float) ** 2)) if heard.samples.size else 0.0
    return {
        "duration": heard.seconds,
        "loudness": 10 * float(np.log10(max(power, 1e-12))),
        "sampling_rate": float(heard.file_rate),
    }


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
