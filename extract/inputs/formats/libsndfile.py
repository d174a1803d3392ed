"""Read samples with libsndfile: WAV, FLAC and similar formats, seekable and exact."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import soundfile

from ...errors import Unusable
from .header_checks import FRAMES_PER_BYTE, Container, check_rate

_BLOCK_SECONDS = 16


class SndfileReader:
    """Reads one file.

    Attributes
    ----------
    rate : int
        In Hz.
    total, decoded : int
        Frames in the file.
    flags : tuple of str
        Remarks of `inspect`.
    ended : bool
        The length is known from the start.
    cause : str
        Reason code for sound that is missing.
    estimate : float
        Seconds, of a file whose length is not known: 0.

    Raises
    ------
    soundfile.SoundFileError
        libsndfile does not know what is in the container.
    Unusable
        ``implausible_header`` or ``empty``.
    """

    ended = True
    cause = "truncated"
    estimate = 0.0

    def __init__(self, container: Container) -> None:
        self.file = soundfile.SoundFile(io.BytesIO(container.data))
        self.rate, self.total = self.file.samplerate, self.file.frames
        self.decoded = self.total  # as far as known before reading
        self.flags = container.flags
        self._lost = container.lost
        check_rate(self.rate)
        if self.total > FRAMES_PER_BYTE * len(container.data):
            size = len(container.data)
            reason = f"{self.total} frames claimed by a file of {size} bytes"
            raise Unusable("implausible_header", reason)
        if self.total <= 0:
            raise Unusable("empty", "no samples")

    def __enter__(self) -> SndfileReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    @property
    def lost(self) -> float:
        """Seconds that the header promises and the file does not hold."""
        return self.total / self.rate * self._lost / (1 - self._lost) if self._lost < 1 else 0.0

    def blocks(self, first: int, wanted: int | None) -> Iterator[np.ndarray]:
        """Yield ``(frames, channels)`` float32, up to `wanted` frames from `first` on."""
        left = self.total - first if wanted is None else wanted
        try:
            self.file.seek(first)
        except soundfile.SoundFileError:  # GSM 6.10 and others: read from the start, in one go
            yield self.file.read(first + left, dtype="float32", always_2d=True)[first:]
            return
        size = _BLOCK_SECONDS * self.rate
        while left > 0:
            block = self.file.read(min(left, size), dtype="float32", always_2d=True)
            if not len(block):
                return
            left -= len(block)
            yield block

    def frames(self) -> Iterator[np.ndarray]:
        """Yield all of it, as a part of a file that was joined."""
        return self.blocks(0, None)

    def snapshot(self) -> SndfileReader:
        """Return what is known of the file, which reading does not change."""
        return self
