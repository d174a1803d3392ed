"""Digests of recordings that were looked at a moment ago, so that they are not looked at again."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from ..manifest import Manifest


class HeldDigests:
    """Digests by root, path and segment. One thread at a time may use it.

    Examples
    --------
    >>> held = HeldDigests()
    >>> clips = Manifest.from_rows([{"id": "a", "path": "a.wav"}, {"id": "b", "text": "no audio"}])
    >>> held.digests(clips) is None
    True
    >>> held.keep(clips, ["0" * 64, None])
    >>> held.digests(clips) == ["0" * 64, None]
    True
    """

    def __init__(self) -> None:
        self._digests: dict[Hashable, str] = {}

    def digests(self, clips: Manifest) -> list[str | None] | None:
        """Return the digest of each clip, None for those without a path; None if one is unknown."""
        found: list[str | None] = []
        for place in _places(clips):
            digest = self._digests.get(place) if place else None
            if place and digest is None:
                return None
            found.append(digest)
        return found

    def keep(self, clips: Manifest, digests: Sequence[str | None]) -> None:
        """Keep the digests that are known."""
        for place, digest in zip(_places(clips), digests, strict=True):
            if place and digest:
                self._digests[place] = digest


def _places(clips: Manifest) -> Iterator[tuple[Hashable, ...] | None]:
    root = clips._folder.digest, clips.allow_outside
    starts, ends = (_times(clips, name) for name in ("start", "end"))
    for path, start, end in zip(clips["path"].tolist(), starts, ends, strict=True):
        yield (*root, path, start, end) if path else None


def _times(clips: Manifest, name: str) -> list[float | None]:
    return [None if time != time else time for time in clips[name].tolist()]  # NaN is not a time
