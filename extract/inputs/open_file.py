"""Open a file's bytes with the right reader, once for all its segments."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import soundfile

from ...cache.identity.known_digests import LARGEST
from ..errors import Unusable
from .formats.ffmpeg import FFmpegReader
from .formats.header_checks import Container, inspect
from .formats.joined import JoinedReader, split
from .formats.libsndfile import SndfileReader
from .formats.one_pass import KEPT, OnePass
from .formats.signatures import SOUNDFILE, identify

_log = logging.getLogger(__name__)
T = TypeVar("T")
Source = SndfileReader | OnePass

_MOST_LOST = 0.98  # share of a file


class OpenFile:
    """A file to read segments from; ascending ones in one pass, where it cannot be sought.

    Parameters
    ----------
    data : bytes
        A whole file.
    several : bool
        Several segments are to come: samples are kept for those that overlap.
    """

    def __init__(self, data: bytes, *, several: bool = False) -> None:
        self.data = data
        self._most = KEPT if several else 0
        self._container: Container | None = None
        self._begin: Callable[[], FFmpegReader | JoinedReader] | None = None
        self._pass: OnePass | None = None

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._pass is not None:
            self._pass.close()

    def read(self, function: Callable[[Source], T]) -> T:
        """Return what `function` makes of the file; FFmpeg reads it where libsndfile cannot.

        Raises
        ------
        Unusable
            As for `affekt.extract.decode`.
        """
        begin = self._begin or self._open()
        if self._container is not None and _is_plain(self._container):
            try:
                with SndfileReader(self._container) as source:
                    return function(source)
            except soundfile.SoundFileError as error:  # another codec, or damage: FFmpeg decides
                _log.debug("libsndfile: %s", error)
        if self._pass is None:
            self._pass = OnePass(begin, self._most)
        return function(self._pass)

    def _open(self) -> Callable[[], FFmpegReader | JoinedReader]:
        if len(self.data) > LARGEST:
            size = len(self.data) / 2**30
            raise Unusable("too_large", f"{size:.1f} GiB, the limit is {LARGEST >> 30} GiB")
        parts = split(identify(self.data), self.data)
        if len(parts) > 1:
            self._begin = lambda: JoinedReader(parts, _open_part)
        else:
            self._container = container = inspect(self.data)
            self._begin = lambda: _by_ffmpeg(container)
        return self._begin


def _open_part(data: bytes) -> SndfileReader | FFmpegReader:
    container = inspect(data)
    if _is_plain(container):
        try:
            return SndfileReader(container)
        except soundfile.SoundFileError as error:
            _log.debug("libsndfile: %s", error)
    return _by_ffmpeg(container)


def _by_ffmpeg(container: Container) -> FFmpegReader:
    """Open a file with FFmpeg, unless so little is left that it would search for long."""
    if container.lost > _MOST_LOST:
        reason = f"{container.lost:.2%} of the file is damaged"
        raise Unusable("decode_error", f"{container.format.title}: {reason}")
    return FFmpegReader(container)


def _is_plain(container: Container) -> bool:
    plain = container.format.name in SOUNDFILE and not container.uncertain
    return plain or container.short_vorbis
