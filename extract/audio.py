"""Decode a file's bytes into one channel at the encoder's rate, or say why not.

Rules, all in the spec: every channel counts the same (mean of channels); segments are cut at the
file's own rate, then resampled with soxr HQ; nothing is normalised, clamped or padded. Bytes come
in whole, because they are the ones that were hashed; nothing is allocated on a header's word.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from .audio_containers import PLAUSIBLE_RATES, Container, inspect
from .errors import Unusable

__all__ = ["LONGEST", "RULES", "Signal", "decode"]

#: The input rules as the spec writes them down.
RULES = {"mono": "mean of channels", "resampler": "soxr HQ", "segment": "cut, then resampled"}

#: No clip is decoded further than this, in seconds.
LONGEST = 4 * 3600.0

_FRAMES_PER_BYTE = 4096  # digital silence in FLAC or Opus stays below
_BLOCK_SECONDS = 16
_SLACK = 0.010  # an annotated end may lie this far behind the file's, in seconds
_MARGIN = 1.0  # decoded beyond a truncation, so that resampling does not see the cut, in seconds
_FULL_SCALE = 1 - 2**-15
_SILENCE = 1e-4  # root mean square without the mean: -80 dBFS
_LOUDEST = 2.0**31  # floats on the scale of 32-bit integers are odd; more is no audio
_SEEKABLE = ("wav", "flac", "aiff", "au", "nist")  # seeking in Ogg and MP3 is not sample exact


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
        ``size_unknown`` (streamed header), ``truncated_audio`` (cut by the long-clip policy).
    """

    samples: np.ndarray
    seconds: float
    flags: tuple[str, ...] = ()


def decode(
    data: bytes,
    sampling_rate: int,
    start: float | None = None,
    end: float | None = None,
    *,
    max_seconds: float = LONGEST,
    truncate: bool = False,
) -> Signal:
    """Decode one clip.

    Parameters
    ----------
    data : bytes
        A whole file: WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF, AU or NIST SPHERE.
    sampling_rate : int
        Rate to resample to, in Hz.
    start, end : float or None
        The segment in seconds; ``None`` is the beginning or end of the file.
    max_seconds : float
        Longer clips are refused, or cut where `truncate` is set.
    truncate : bool
        Keep the first `max_seconds` of a longer clip.

    Returns
    -------
    Signal

    Raises
    ------
    Unusable
        With the reason code: ``empty``, ``not_audio``, ``truncated``, ``decode_error``,
        ``implausible_header``, ``bad_segment``, ``too_long``, ``non_finite_input`` or
        ``out_of_range``.

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
    container = inspect(data)
    try:
        with soundfile.SoundFile(io.BytesIO(container.data)) as file:
            rate, total = _check_header(file, container)
            first, last = _segment(start, end, rate, total)
            limit = min(max_seconds, LONGEST)
            if last - first > limit * rate and not truncate:
                raise _too_long((last - first) / rate, limit)
            reading = _Reading(file, container)
            mono = reading.run(first, last, math.ceil((limit + _MARGIN) * rate))
    except soundfile.SoundFileError as error:
        raise Unusable("decode_error", f"{container.format}: {_short(error)}") from error
    return _finish(mono, reading, sampling_rate, limit, truncate)


def _check_header(file: soundfile.SoundFile, container: Container) -> tuple[int, int]:
    """Give the rate and the number of frames."""
    low, high = PLAUSIBLE_RATES
    rate, frames = file.samplerate, file.frames
    if not low <= rate <= high:
        raise Unusable("implausible_header", f"a sampling rate of {rate} Hz")
    if frames > _FRAMES_PER_BYTE * len(container.data):
        size = len(container.data)
        raise Unusable("implausible_header", f"{frames} frames claimed by a file of {size} bytes")
    if frames <= 0:
        raise Unusable("empty", "no samples")
    return rate, frames


def _segment(start: float | None, end: float | None, rate: int, total: int) -> tuple[int, int]:
    """Give first and last frame of the segment."""
    for name, value in (("start", start), ("end", end)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise Unusable("bad_segment", f"{name} is {value}, expected seconds from 0 on")
    first = round((start or 0.0) * rate)
    last = total if end is None else round(end * rate)
    length = total / rate
    if first >= last:
        reason = f"start {start} is not before end {end}; the file has {length:.3f} s"
        raise Unusable("bad_segment", reason)
    if last > total + _SLACK * rate:
        raise Unusable("bad_segment", f"end {end} lies behind the file's {length:.3f} s")
    if first >= total:
        raise Unusable("bad_segment", f"start {start} lies behind the file's {length:.3f} s")
    return first, min(last, total)


class _Reading:
    """Reads blocks, mixes them down, and gathers what the flags need."""

    def __init__(self, file: soundfile.SoundFile, container: Container) -> None:
        self.file, self.rate, self.container = file, file.samplerate, container
        self.frames = 0
        self.clipped = 0
        self.power = np.zeros(file.channels)
        self.mixed = 0.0

    def run(self, first: int, last: int, limit: int) -> np.ndarray:
        """Read ``first`` to ``last``, at most `limit` frames; (frames,) float32."""
        wanted = min(last - first, limit)
        mono = [self._mix(block) for block in self._blocks(first, wanted)]
        if self.frames < wanted:
            found = (first + self.frames) / self.rate
            expected = (first + wanted) / self.rate
            raise Unusable("decode_error", f"ends after {found:.3f} s, expected {expected:.3f} s")
        return mono[0] if len(mono) == 1 else np.concatenate(mono)

    def _blocks(self, first: int, wanted: int) -> Iterator[np.ndarray]:
        if self.container.format not in _SEEKABLE:
            # soundfile seeks after each read, so one read has to do
            yield self.file.read(first + wanted, dtype="float32", always_2d=True)[first:]
            return
        self.file.seek(first)
        size = _BLOCK_SECONDS * self.rate
        while wanted > 0:
            block = self.file.read(min(wanted, size), dtype="float32", always_2d=True)
            if not len(block):
                return
            wanted -= len(block)
            yield block

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
        self.power += np.einsum("fc,fc->c", block, block, dtype=np.float64)
        self.mixed += float(np.dot(mono, mono))
        return mono

    def flags(self) -> Iterator[str]:
        yield from self.container.flags
        if self.clipped > 0.001 * self.frames:
            yield "clipped"
        channels = len(self.power)
        if channels > 1 and self.power.max() > 0:
            if self.power.min() < 1e-8 * self.frames:
                yield "silent_channel"
            if self.mixed < 0.1 * self.power.sum() / channels**2:  # uncorrelated channels: 1.0
                yield "cancelled_downmix"


def _finish(
    mono: np.ndarray, reading: _Reading, sampling_rate: int, limit: float, truncate: bool
) -> Signal:
    flags = list(reading.flags())
    seconds = len(mono) / reading.rate
    if seconds > limit:
        if not truncate:
            raise _too_long(seconds, limit)
        flags.append("truncated_audio")
    swing = mono - mono.mean()
    if float(np.dot(swing, swing)) < len(mono) * _SILENCE**2:
        flags.append("silent")
    if reading.rate != sampling_rate:
        mono = soxr.resample(mono, reading.rate, sampling_rate, quality="HQ")
    if seconds > limit:
        mono = mono[: round(limit * sampling_rate)]
        seconds = limit
    return Signal(np.ascontiguousarray(mono, dtype=np.float32), seconds, tuple(flags))


def _too_long(seconds: float, limit: float) -> Unusable:
    hint = "choose the policy truncate or chunk, or a larger max_seconds"
    if limit >= LONGEST:
        hint = "cut it into segments (start, end)"
    return Unusable("too_long", f"{seconds:.1f} s, the limit is {limit:g} s: {hint}")


def _short(error: Exception) -> str:
    """Leave out the address of our buffer, which changes from run to run."""
    return str(error).split(">: ")[-1].removeprefix("Error : ")
