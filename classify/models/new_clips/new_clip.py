"""One new clip as it comes in: a file, bytes, a file object or a waveform, a text, or both."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ....cache.identity.known_digests import LARGEST
from ....extract.errors import Unusable
from ....extract.inputs.audio_files import read_file

#: what `audio` may be, for messages
AUDIO = "a path, bytes, a binary file object, or a waveform of floats or integers in numpy or torch"
TAKEN = f"{AUDIO}, or a list of these; a manifest; text='...' or texts=[...]"
MOST_CHANNELS = 64
#: integer samples as floats of full scale 1: what they are divided by
_SCALES = {"int16": 2.0**15, "int32": 2.0**31}


@dataclass(frozen=True, eq=False)
class RawClip:
    """A clip that is not in a manifest.

    Attributes
    ----------
    id : str
        Unique within a call.
    audio : path, bytes, file object, ndarray or tensor, optional
        A whole audio file, or a waveform ``(samples,)`` or ``(samples, channels)``.
    sampling_rate : int, optional
        Of a waveform, in Hz; files have their own.
    start, end : float, optional
        A segment of the audio, in seconds.
    columns : mapping of str to str
        What else a manifest says of it; only models that scale within speakers, languages or
        corpora look at them.

    Raises
    ------
    TypeError
        Audio or text of another type; a waveform without its sampling rate.

    Examples
    --------
    >>> wave = RawClip("a", np.zeros(16000, np.float32), sampling_rate=16000)
    >>> wave.content()[:4], RawClip("b", text="what a day").audio is None
    (b'RIFF', True)
    """

    id: str
    audio: Path | bytes | BinaryIO | np.ndarray | None = None
    sampling_rate: int | None = None
    text: str | None = None
    start: float | None = None
    end: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.text is not None and not isinstance(self.text, str):
            raise TypeError(f"text is {_shown(self.text)}; expected one text of type str")
        if self.audio is None or isinstance(self.audio, str):
            object.__setattr__(self, "audio", Path(self.audio) if self.audio else None)
        elif not is_audio(self.audio):
            raise TypeError(f"audio is {_shown(self.audio)}; expected {AUDIO}")
        elif isinstance(self.audio, bytes | bytearray | memoryview):
            object.__setattr__(self, "audio", bytes(self.audio))
        elif not isinstance(self.audio, Path) and not hasattr(self.audio, "read"):
            wave = _samples(self.audio)
            rate = self.sampling_rate
            if isinstance(rate, bool) or not isinstance(rate, int | np.integer):
                raise TypeError(
                    f"sampling_rate is {rate!r} for a waveform; expected its rate in Hz, such as "
                    "sampling_rate=16000"
                )
            object.__setattr__(self, "audio", wave)

    def content(self) -> bytes:
        """Return the bytes of a whole audio file; a waveform becomes a WAV of floats."""
        audio = self.audio
        if isinstance(audio, bytes):
            return audio
        if isinstance(audio, Path):
            return read_file(audio).data
        if isinstance(audio, np.ndarray):
            return _as_wav(audio, self.sampling_rate or 0)
        if audio is None:
            raise Unusable("missing", "no audio")
        data = audio.read(LARGEST + 1)
        if not isinstance(data, bytes):
            raise TypeError(f"{audio!r} gives {type(data).__name__}; open the file in mode 'rb'")
        if len(data) > LARGEST:
            raise Unusable("too_large", f"more than {LARGEST >> 30} GiB: split it")
        object.__setattr__(self, "audio", data)  # a stream is read once, for every encoder
        return data


def is_audio(value: Any) -> bool:
    """Whether a value is one of the forms in which the audio of one clip comes in.

    Examples
    --------
    >>> is_audio(b"RIFF"), is_audio(np.zeros(3)), is_audio([0.0]), is_audio(42)
    (True, True, False, False)
    """
    if isinstance(value, np.ndarray):
        return value.dtype.kind not in "OUS"  # not a list of paths or of waveforms
    if isinstance(value, Path | bytes | bytearray | memoryview):
        return True
    return hasattr(value, "read") or (hasattr(value, "detach") and hasattr(value, "numpy"))


def _samples(value: Any) -> np.ndarray:
    """Return a waveform ``(samples, channels)`` float32, full scale at 1."""
    wave = value
    if hasattr(value, "detach"):
        wave = value.detach().cpu()
        wave = (wave.float() if wave.is_floating_point() else wave).numpy()
    scale = _SCALES.get(str(wave.dtype))
    if wave.dtype.kind != "f" and scale is None:
        raise TypeError(f"a waveform of {wave.dtype}; expected floats, int16 or int32")
    if wave.ndim not in (1, 2) or (wave.ndim == 2 and wave.shape[1] > MOST_CHANNELS):
        raise TypeError(
            f"a waveform of shape {wave.shape}; expected (samples,) or (samples, channels) with "
            f"at most {MOST_CHANNELS} channels: for (channels, samples) pass its transpose .T"
        )
    if scale is not None:
        wave = wave / scale
    with np.errstate(over="ignore"):  # what becomes infinite is refused as such
        wave = wave.astype(np.float32)
    return wave[:, None] if wave.ndim == 1 else wave


def _as_wav(wave: np.ndarray, rate: int) -> bytes:
    """Write samples as they are, so that they are handled like a file."""
    import soundfile

    from ....extract.inputs.formats.header_checks import PLAUSIBLE_RATES

    low, high = PLAUSIBLE_RATES
    if not low <= rate <= high:
        raise Unusable("implausible_header", f"a sampling rate of {rate} Hz")
    if not wave.size:
        raise Unusable("empty", "no samples")
    file = io.BytesIO()
    soundfile.write(file, wave, int(rate), format="WAV", subtype="FLOAT")
    return file.getvalue()


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
