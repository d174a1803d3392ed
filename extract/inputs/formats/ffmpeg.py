"""Read samples with FFmpeg's libraries: MP3, Ogg, MPEG-4, WebM and other formats.

The delay and padding of an encoder are removed as FFmpeg does it (LAME's tag, Opus' pre-skip, edit
lists). What could not be decoded, or is promised by a header and not there, is added up.
"""

from __future__ import annotations

import copy
import io
import time
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np

from ...errors import Unusable
from .flac_and_mp3_frames import mpeg_frame
from .header_checks import Container, check_rate
from .signatures import TRAILERS

#: Processor time for one clip, in seconds, and for each megabyte of its file.
PATIENCE = 60.0, 1.0

_EXACT = 0.03  # a promised length may exceed the sound by this: an encoder's delay, in seconds
#: Where a header holds the length of a whole film, rounds it, or counts whole packets.
_SLACK = {"matroska": 0.15, "flv": 0.15, "avi": 0.15, "asf": 0.15, "caf": 0.5}
_LONGER = 0.1  # sound beyond a promised length is worth a remark
_LEAP = 0.02  # a leap in the time stamps, where sound is missing

#: Demuxers that read the length of a stream in a header, and do not guess it from the size.
_WITH_LENGTH = ("mov", "flac", "wv", "tta", "ape", "wav", "aiff", "au", "caf", "w64", "nistsphere")
_WITH_ROUGH_LENGTH = ("matroska", "flv", "avi")
_RAW = ("mp3", "aac", "ac3", "amr", "loas")  # frame follows frame: every byte belongs to one
_LIVE = ("matroska", "flv", "mpegts", "mpeg", "mov", "asf", "avi", "rm")  # pauses are not damage


class FFmpegReader:
    """Reads one file from its beginning.

    Attributes
    ----------
    rate : int
        In Hz.
    total : None
        Frames in the file are known at its end only.
    flags : tuple of str
        Remarks so far.
    ended : bool
        Everything was read.

    Raises
    ------
    Unusable
        ``not_audio``, ``decode_error``, ``empty`` or ``implausible_header``.
    """

    total = None

    def __init__(self, container: Container) -> None:
        import av
        from av.error import FFmpegError

        self.error = FFmpegError
        self.format = container.format
        self.size = len(container.data)
        self.container = container
        self.notes = list(container.flags)
        self.decoded = 0  # frames
        self.leaps = 0.0
        self.good = self.bad = 0  # bytes of packets
        self.ended = False
        self._behind = 0
        try:
            self.file: Any = av.open(
                io.BytesIO(container.data), format=self.format.demuxer, metadata_errors="ignore"
            )
        except (FFmpegError, ValueError) as error:
            raise self._unreadable("decode_error", error) from error
        tracks: Any = self.file.streams.audio
        if not tracks:
            self.file.close()
            if "unfinished" in self.notes:
                raise self._unreadable("not_audio", "no audio track")
            raise Unusable("not_audio", f"{self.format.title} without an audio track")
        # the one that is marked as the default, or the first
        self.stream: Any = next((one for one in tracks if _is_default(one)), tracks[0])
        if len(tracks) > 1:
            self.notes.append("several_tracks")
        try:
            self._frames = self._decode()
            self._next: Any = next(self._frames, None)
            self.rate = self._rate()
        except BaseException:
            self.file.close()
            raise
        self.promised = self._promised()

    def __enter__(self) -> FFmpegReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._frames.close()
        self.file.close()

    @property
    def estimate(self) -> float:
        """Seconds that FFmpeg expects by the size and the beginning of the file; 0 if none."""
        return (self.file.duration or 0) / 1e6

    @property
    def flags(self) -> tuple[str, ...]:
        """Remarks, complete when the file was read to its end."""
        notes = list(self.notes)
        held = self.decoded / self.rate
        counted = self.format.demuxer in (*_WITH_LENGTH, "mp3") and self.format.demuxer != "mov"
        if self.ended and self.promised and counted and held > self.promised + _LONGER:
            notes.append("longer_than_header")
        if self.leaps > _LEAP and self.format.demuxer in _LIVE:
            notes.append("gaps")
        return tuple(dict.fromkeys(notes))

    @property
    def lost(self) -> float:
        """Seconds that were found to be missing or unreadable so far."""
        held = self.decoded / self.rate
        bad = held * self.bad / self.good if self.good else 0.0
        leaps = 0.0 if self.format.demuxer in _LIVE else self.leaps
        share = self.container.lost
        lost = max(bad, leaps, held * share / (1 - share) if share < 1 else 0.0)
        if self.ended and self.promised:
            slack = _SLACK.get(self.format.demuxer, _EXACT)
            missing = self.promised - held
            lost = max(lost, missing) if missing > slack else lost
        return lost

    @property
    def cause(self) -> str:
        """Reason code for sound that is missing."""
        whole = not (self.bad or self.leaps or self.container.lost)
        return "truncated" if whole else "decode_error"

    def frames(self) -> Iterator[np.ndarray]:
        """Yield ``(frames, channels)`` float32, as they are decoded."""
        while self._next is not None:
            block = _samples(self._next)
            if self._next.sample_rate != self.rate:
                self._changes("sampling rate", self.rate, self._next.sample_rate)
            self._next = next(self._frames, None)
            self.decoded += len(block)
            yield block

    def snapshot(self) -> FFmpegReader:
        """Return what is known of the file so far."""
        seen = copy.copy(self)
        seen.notes, seen._next = [*self.notes], None
        return seen

    def _decode(self) -> Generator[Any, None, None]:
        """Yield decoded frames; add up what cannot be decoded."""
        expected = last = None
        begin = time.thread_time()
        for packet in self._packets():
            if time.thread_time() - begin > PATIENCE[0] + PATIENCE[1] * self.size / 1e6:
                raise Unusable("decode_error", "decoding it took too long and was stopped")
            try:
                frames = self.stream.decode(packet)
            except self.error:
                if packet is not None and _is_sound(bytes(packet)):
                    self.bad += packet.size
                continue
            if packet is not None and packet.size:
                self.good += packet.size
                last = packet
            for frame in frames:
                if not frame.samples:
                    continue
                moment = frame.time  # in seconds
                if moment is not None and frame.sample_rate:
                    if expected is not None and moment - expected > _LEAP:
                        self.leaps += moment - expected
                    expected = moment + frame.samples / frame.sample_rate
                paused = time.thread_time()
                yield frame
                begin += time.thread_time() - paused  # time spent by the caller
        self.ended = True
        if self.format.demuxer in _RAW:
            self._count_tail()
        if self.format.demuxer == "mp3" and last and mpeg_frame(bytes(last), 0)[0] > last.size:
            self.notes.append("unfinished")

    def _packets(self) -> Iterator[Any]:
        try:
            for packet in self.file.demux(self.stream):
                if packet.size and packet.pos is not None:
                    self._behind = packet.pos + packet.size
                yield packet
        except self.error:  # the rest is lost; the decoder still holds a few frames
            self.bad += max(self.size - self._behind, 1) if self._behind else 1
            yield None

    def _count_tail(self) -> None:
        """Count bytes after the last frame that was found."""
        tail = self.container.data[self._behind :]
        if self._behind and len(tail) > 4 and _is_sound(tail):
            self.bad += len(tail)

    def _rate(self) -> int:
        if self._next is None:
            code = "decode_error" if self.bad or self.size > 8192 else "empty"
            raise self._unreadable(code, "no audio could be decoded")
        rate = self._next.sample_rate
        check_rate(rate)
        return rate

    def _promised(self) -> float | None:
        """Return the seconds that a header promises, or None."""
        if self.container.promised is not None:
            return self.container.promised
        demuxer, stream = self.format.demuxer, self.stream
        whole = self.file.duration / 1e6 if self.file.duration else None
        stated = float(stream.duration * stream.time_base) if stream.duration else None
        if demuxer in _WITH_LENGTH:
            return stated
        if demuxer in _WITH_ROUGH_LENGTH and "size_unknown" not in self.container.flags:
            alone = len(self.file.streams) == 1
            return stated or _clock(stream.metadata.get("DURATION")) or (whole if alone else None)
        return None

    def _changes(self, what: str, before: int, after: int) -> None:
        seconds = self.decoded / self.rate
        raise Unusable(
            "decode_error",
            f"{self.format.title}: the {what} changes from {before} to {after} after {seconds:.1f}"
            " s; convert it with ffmpeg -i FILE FILE.wav",
        )

    def _unreadable(self, code: str, error: Any) -> Unusable:
        if "unfinished" in self.notes and self.format.demuxer == "mov":
            return Unusable(
                "truncated",
                f"{self.format.title}: the file is cut short, and the index at its end (moov) is"
                " not whole: copy or download it again",
            )
        reason = getattr(error, "strerror", None) or str(error)
        log = getattr(error, "log", None)
        if log and log[2].strip():
            reason = log[2].strip()
        return Unusable(
            code,
            f"{self.format.title}: {reason[:120]}; if a player plays it: ffmpeg -i FILE FILE.wav",
        )


def _is_sound(data: bytes) -> bool:
    """Whether bytes that cannot be decoded may be sound: no tag, and not only zeros."""
    return not data.startswith(TRAILERS) and bool(data.strip(b"\0"))


def _is_default(stream: Any) -> bool:
    marks = stream.disposition  # flags; in older versions of PyAV they are not numbers
    return bool(marks & type(marks).default)


def _samples(frame: Any) -> np.ndarray:
    """Return ``(frames, channels)`` float32, full scale at ±1."""
    try:
        values = frame.to_ndarray()
    except ValueError:
        raise Unusable(
            "decode_error",
            f"samples of type {frame.format.name}, which is not read: ffmpeg -i FILE FILE.wav",
        ) from None
    values = values.T if frame.format.is_planar else values.reshape(frame.samples, -1)
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) / 128
    if values.dtype.kind == "i":
        return values.astype(np.float32) / -float(np.iinfo(values.dtype).min)
    return values.astype(np.float32, copy=False)


def _clock(text: str | None) -> float | None:
    """Return the seconds of ``hh:mm:ss.fraction``."""
    try:
        hours, minutes, seconds = (text or "").split(":")
        return int(hours[:4]) * 3600 + int(minutes[:4]) * 60 + float(seconds[:20])
    except ValueError:
        return None
