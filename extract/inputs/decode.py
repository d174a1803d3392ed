"""Decode a file's bytes into one channel at the encoder's rate, or say why not.

Rules, all in the spec: libsndfile reads what holds samples without loss, FFmpeg the rest; every
channel counts the same (mean of channels); segments are cut at the file's own rate, then resampled
with soxr HQ; nothing is normalised, clamped or padded. Bytes come in whole, because they are the
ones that were hashed; nothing is allocated on a header's word. What was decoded is compared with
what the file holds and its header promises.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from ..errors import Unusable
from .open_file import OpenFile, Source

#: The input rules as the spec has them.
RULES = {
    "mono": "mean of channels",
    "resampler": "soxr HQ",
    "segment": "cut, then resampled",
    "decoder": "libsndfile without loss, FFmpeg the rest",
}

#: No clip is decoded further than this, in seconds.
LONGEST = 4 * 3600.0

#: Damage up to this is read and flagged, whatever the policy: seconds, and a share of the sound.
SMALL_DAMAGE = (0.05, 0.01)
DAMAGE = ("refuse", "accept")
HINT = "; --damage accept (damage='accept') reads the rest"

_BOMB = 4 * LONGEST  # a length that FFmpeg guesses is never so wrong, in seconds
_LATEST = 1e9  # seconds, after the end of every file
_SLACK = 0.010  # an annotated end may be this far after the file's, in seconds
_MARGIN = 1.0  # decoded beyond a truncation, so that resampling does not see the cut, in seconds
_FULL_SCALE = 1 - 2**-15
_SEPARATE = 0.2  # correlation of two channels, below which they hold different sounds
_SILENCE = 1e-4  # root mean square without the mean: -80 dBFS
_LOUDEST = 2.0**31  # floats on the scale of 32-bit integers are unusual; more is not audio


@dataclass(frozen=True, slots=True)
class Signal:
    """One decoded clip.

    Attributes
    ----------
    samples : numpy.ndarray
        ``(samples,)`` float32, full scale at ±1, at the rate that was asked for.
    seconds : float
        Length of the audio.
    flags : tuple of str
        ``clipped`` (more than 0.1 % of samples at full scale), ``silent`` (below -80 dBFS or
        constant), ``silent_channel``, ``cancelled_downmix`` (channels that erase each other),
        ``separate_channels`` (two channels with sounds of their own, as of two people on a
        telephone), ``low_rate`` (sampled at fewer Hz than were asked for),
        ``size_unknown`` (streamed header), ``longer_than_header`` (it promises less than was
        read), ``damaged`` (sound is missing or cannot be decoded), ``unfinished`` (the last
        page, frame or element is cut), ``gaps`` (pauses in the time stamps, which are closed up),
        ``several_tracks`` (one was read), ``joined`` (several files in one, all read),
        ``truncated_audio`` (cut by the long-clip policy).
    file_rate : int
        Sampling rate of the file, in Hz.
    """

    samples: np.ndarray
    seconds: float
    flags: tuple[str, ...] = ()
    file_rate: int = 0


def decode(
    data: bytes | OpenFile,
    sampling_rate: int | None,
    start: float | None = None,
    end: float | None = None,
    *,
    max_seconds: float = LONGEST,
    truncate: bool = False,
    damage: str = "refuse",
) -> Signal:
    """Decode one clip.

    Parameters
    ----------
    data : bytes
        A whole file: WAV, FLAC and their like, MP3, Ogg (Vorbis, Opus), MPEG-4 (m4a, mp4), WebM,
        AMR, WMA and others; see `affekt.extract.inputs.formats.signatures`. An `OpenFile` stays
        open.
    sampling_rate : int or None
        Rate to resample to, in Hz; None keeps the file's own, ``len(samples) / seconds``.
    start, end : float or None
        The segment in seconds; ``None`` is the beginning or end of the file.
    max_seconds : float
        Longer clips are refused, or cut where `truncate` is set.
    truncate : bool
        Keep the first `max_seconds` of a longer clip.
    damage : str
        A file with up to 50 ms or 1 % of its sound missing is read and flagged; beyond that
        ``"refuse"`` refuses it, and ``"accept"`` reads and flags it too.

    Returns
    -------
    Signal

    Raises
    ------
    Unusable
        With the reason code: ``too_large`` (2 GiB), ``empty``, ``not_audio``, ``truncated``,
        ``decode_error``, ``implausible_header``, ``bad_segment``, ``too_long``,
        ``non_finite_input`` or ``out_of_range``.

    Examples
    --------
    >>> import io, numpy, soundfile
    >>> file = io.BytesIO()
    >>> stereo = numpy.full((8000, 2), [0.5, 0.25])
    >>> soundfile.write(file, stereo, 8000, format="WAV", subtype="FLOAT")
    >>> signal = decode(file.getvalue(), 8000, end=0.5)
    >>> signal.samples.shape, float(signal.samples[0]), signal.seconds
    ((4000,), 0.375, 0.5)
    """
    limit = min(max_seconds, LONGEST)
    with nullcontext(data) if isinstance(data, OpenFile) else OpenFile(data) as file:
        mono, reading = file.read(lambda source: _read(source, start, end, limit, truncate))
    return _finish(mono, reading, sampling_rate, limit, truncate, damage)


def length(data: bytes) -> float:
    """Return the seconds of a file as `decode` finds them, and keep no samples.

    Raises
    ------
    Unusable
        As for `decode`.
    """

    def read(source: Source) -> float:
        if source.total is not None:
            return source.total / source.rate
        _, reading = _read(source, None, None, LONGEST, False, keep=False)
        _is_damaged(source, "refuse")
        return reading.seconds(LONGEST)

    with OpenFile(data) as file:
        return file.read(read)


def _bounds(start: float | None, end: float | None, rate: int) -> tuple[int, int | None]:
    """Return the first frame of the segment and the one after it, None for the file's end."""
    for name, value in (("start", start), ("end", end)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            given = value if math.isfinite(value) else "not a number"
            raise Unusable("bad_segment", f"{name} is {given}, expected seconds from 0 on")
    first = round(min(start or 0.0, _LATEST) * rate)
    last = None if end is None else round(min(end, _LATEST) * rate)
    if last is not None and first >= last:
        raise Unusable("bad_segment", f"start {start} is not before end {end}")
    return first, last


def _check_inside(first: int, last: int | None, rate: int, total: int) -> None:
    """Refuse a segment that is not inside the file."""
    length = total / rate
    if last is not None and last > total + _SLACK * rate:
        raise Unusable("bad_segment", f"end {last / rate:g} is beyond the file's {length:.3f} s")
    if first >= total:
        reason = f"start {first / rate:g} is beyond the file's {length:.3f} s"
        raise Unusable("bad_segment", reason)


def _read(
    source: Source,
    start: float | None,
    end: float | None,
    limit: float,
    truncate: bool,
    *,
    keep: bool = True,
) -> tuple[np.ndarray, _Reading]:
    """Read a segment, at most `limit` seconds of it and a margin; (frames,) float32."""
    rate, total = source.rate, source.total
    first, last = _bounds(start, end, rate)
    if total is not None:
        _check_inside(first, last, rate, total)
        last = total if last is None else min(last, total)
    if last is not None and last - first > limit * rate and not truncate:
        raise _too_long((last - first) / rate, limit)
    if last is None and not truncate and source.estimate > _BOMB:
        raise _too_long(source.estimate, limit)  # not decoded for an hour to find out
    wanted = math.ceil((limit + _MARGIN) * rate)
    if last is not None:
        wanted = min(wanted, last - first)
    reading = _Reading(source)
    mono = reading.run(first, wanted, keep)
    if total is None and source.ended:
        _check_inside(first, last, rate, source.decoded)
    elif total is not None and reading.frames < wanted:
        found, expected = (first + reading.frames) / rate, (first + wanted) / rate
        raise soundfile.SoundFileRuntimeError(f"ends after {found:.3f} s of {expected:.3f} s")
    return mono, reading


class _Reading:
    """Reads blocks, mixes them down, and gathers what the flags need."""

    def __init__(self, source: Source) -> None:
        self.source, self.rate = source, source.rate
        self.frames = 0
        self.clipped = 0
        self.power = np.zeros(1)
        self.mixed = 0.0

    def run(self, first: int, wanted: int, keep: bool) -> np.ndarray:
        """Read `wanted` frames, or as many as there are; (frames,) float32, if they are kept."""
        mixed = (self._mix(block) for block in self.source.blocks(first, wanted))
        mono = [block for block in mixed if keep]
        if not mono:
            return np.zeros(0, np.float32)
        return mono[0] if len(mono) == 1 else np.concatenate(mono)

    def _mix(self, block: np.ndarray) -> np.ndarray:
        """Mix down ``(frames, channels)``."""
        self.frames += len(block)
        flat = block.ravel()
        if not flat.size:
            return flat
        high, low = float(flat.max()), float(flat.min())  # NaN, where there is any
        peak = max(high, -low)
        if not (math.isfinite(high) and math.isfinite(low)):
            raise Unusable("non_finite_input", "a sample is NaN or infinite")
        if peak > _LOUDEST:
            raise Unusable(
                "out_of_range",
                f"a sample is {peak:.3g} times full scale (1.0); expected at most {_LOUDEST:.3g}",
            )
        if peak >= _FULL_SCALE:
            self.clipped += int((np.abs(block) >= _FULL_SCALE).any(axis=1).sum())
        if block.shape[1] == 1:
            return flat
        mono = block.mean(axis=1, dtype=np.float64).astype(np.float32)
        power = np.einsum("fc,fc->c", block, block, dtype=np.float64)
        # where a stream changes its channels, those of its last part count
        self.power = self.power + power if len(power) == len(self.power) else power
        self.mixed += float(np.dot(mono, mono))
        return mono

    def seconds(self, limit: float | None) -> float:
        """Return the length of what was read; `limit` is None where a longer clip is cut."""
        seconds = self.frames / self.rate
        if limit is not None and seconds > limit:
            raise _too_long(seconds if self.source.ended else None, limit)
        return seconds

    def flags(self) -> Iterator[str]:
        yield from self.source.flags
        if self.clipped > 0.001 * self.frames:
            yield "clipped"
        channels = len(self.power)
        if channels > 1 and self.power.max() > 0:
            if self.power.min() < 1e-8 * self.frames:
                yield "silent_channel"
            elif channels == 2:
                common = abs(4 * self.mixed - self.power.sum()) / 2
                if common < _SEPARATE * math.sqrt(self.power.prod()):
                    yield "separate_channels"
            if self.mixed < 0.1 * self.power.sum() / channels**2:  # uncorrelated channels: 1.0
                yield "cancelled_downmix"


def _finish(
    mono: np.ndarray,
    reading: _Reading,
    sampling_rate: int | None,
    limit: float,
    truncate: bool,
    damage: str,
) -> Signal:
    flags = list(reading.flags())
    if _is_damaged(reading.source, damage):
        flags.append("damaged")
    seconds = reading.seconds(None if truncate else limit)
    if seconds > limit:
        flags.append("truncated_audio")
    swing = mono - mono.mean()
    if float(np.dot(swing, swing)) < len(mono) * _SILENCE**2:
        flags.append("silent")
    rate = sampling_rate or reading.rate
    if rate > reading.rate:
        flags.append("low_rate")
    if rate != reading.rate:
        mono = soxr.resample(mono, reading.rate, rate, quality="HQ")
    if seconds > limit:
        mono = mono[: round(limit * rate)]
        seconds = limit
    samples = np.ascontiguousarray(mono, dtype=np.float32)
    return Signal(samples, seconds, tuple(flags), reading.rate)


def _is_damaged(source: Source, damage: str) -> bool:
    """Whether sound is missing or unreadable; more than a little is refused by policy."""
    lost = source.lost
    if lost <= 0:
        return False
    seconds, share = SMALL_DAMAGE
    held = source.decoded / source.rate
    if lost > max(seconds, share * (held + lost)) and damage == "refuse":
        raise Unusable(
            source.cause,
            f"{lost:.3f} s of {held + lost:.3f} s are missing or cannot be decoded{HINT}",
        )
    return True


def _too_long(seconds: float | None, limit: float) -> Unusable:
    found = "longer" if seconds is None else f"{seconds:.1f} s"
    return Unusable("too_long", f"{found}, the limit is {limit:g} s")
