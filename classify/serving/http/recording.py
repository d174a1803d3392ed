"""A long recording as windows, each of them a clip of its own."""

from __future__ import annotations

import asyncio

from ....cache.errors import InputError
from ....extract.decoder import Decoder
from ....extract.errors import Unusable
from ...timeline import check_window, spans, window_id
from ..inputs import RawClip
from .bodies import Refused, Sent

__all__ = ["cut"]

LONGEST = 3600.0  # seconds of a recording
MOST = 3600  # windows
RATE = 16_000  # Hz; any will do to find a length


async def cut(sent: Sent, window: float, hop: float | None) -> list[RawClip]:
    """Return the windows of a recording, as `affekt predict --window` cuts them.

    Parameters
    ----------
    sent : Sent
    window, hop : float
        Length of a window and distance of two beginnings, in seconds; `hop` is half a window.

    Raises
    ------
    Refused
        No audio, not decodable, too long, too many windows.
    """
    if sent.audio is None:
        raise Refused(422, "missing_input", "a timeline is of audio, and none was sent")
    hop = window / 2 if hop is None else hop
    try:
        check_window(window, hop)
    except InputError as error:
        raise Refused(422, "parameter", str(error)) from None
    seconds = await asyncio.to_thread(_length, sent.audio)
    if (seconds - window) / hop > MOST:
        raise Refused(
            422, "parameter", f"{seconds:g} s are over {MOST} windows; choose a longer hop"
        )
    return [
        RawClip(window_id(sent.id, start, end), sent.audio, text=sent.text, start=start, end=end)
        for start, end in ((round(a, 4), round(b, 4)) for a, b in spans(seconds, window, hop))
    ]


def _length(audio: bytes) -> float:
    """Return the seconds of a recording; it is decoded in a process of its own."""
    with Decoder() as decoder:
        [signal] = decoder(audio, [(None, None)], RATE, max_seconds=LONGEST)
    if isinstance(signal, Unusable):
        raise Refused(422, signal.code, str(signal))
    return signal.seconds
