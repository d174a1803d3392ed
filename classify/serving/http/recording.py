"""A long recording as windows, each of them a clip of its own."""

from __future__ import annotations

from dataclasses import dataclass

from ....cache.errors import InputError
from ....extract.errors import Unusable
from ....extract.inputs.isolated_decoder import Decoder
from ...models.new_clips.new_clip import RawClip
from ..timeline import check_window, spans, window_id
from .bodies import Refused, Sent

LONGEST = 3600.0  # seconds of a recording
MOST = 3600  # windows


@dataclass(frozen=True)
class Recording:
    """A recording that was cut.

    Attributes
    ----------
    spans : dict of str to (float, float)
        Id of a window -> its start and end in seconds.
    flags : tuple of str
        Remarks of the decoder on the whole of it.
    """

    windows: list[RawClip]
    spans: dict[str, tuple[float, float]]
    flags: tuple[str, ...]


def cut(sent: Sent, window: float, hop: float | None) -> Recording:
    """Decode a recording once, in a process of its own, and cut it as `affekt predict` does.

    Parameters
    ----------
    window, hop : float
        Length of a window and time from one start to the next, in seconds; `hop` is half a window.
    """
    if sent.audio is None:
        raise Refused("missing_input", "a timeline needs audio, and none was sent", 422)
    hop = window / 2 if hop is None else hop
    try:
        check_window(window, hop)
    except InputError as error:
        raise Refused("parameter", str(error), 422) from None
    with Decoder() as decoder:
        [signal] = decoder(sent.audio, [(None, None)], None, max_seconds=LONGEST)
    if isinstance(signal, Unusable):
        raise Refused(signal.code, f"{signal.code} ({signal.message})", 422)
    if (signal.seconds - window) / hop > MOST:
        found = f"{signal.seconds:g} s are over {MOST} windows; choose a longer hop"
        raise Refused("parameter", found, 422)
    rate = round(len(signal.samples) / signal.seconds)
    windows, places = [], {}
    for start, end in spans(signal.seconds, window, hop):
        first, last = round(start, 4), round(end, 4)
        name = window_id(sent.id, first, last)
        samples = signal.samples[round(first * rate) : round(last * rate)]
        windows.append(RawClip(name, samples, sampling_rate=rate, text=sent.text))
        places[name] = first, last
    return Recording(windows, places, signal.flags)
