"""Clips that `extract` could not embed, and a manifest without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ...cache.identity.content_digests import row_key
from ...cache.manifest import Manifest
from ...cache.space import Space


def quarantined(space: Space, clips: Manifest) -> dict[str, str]:
    """Return id -> reason code of the clips without a row that extract could not embed.

    A failure counts for the content that failed: a file that changed is only missing.
    """
    chosen = clips.select(space.missing(clips))
    if not len(chosen):
        return {}
    digests = space.cache.digests(chosen, space.modality, refuse=False)
    keys = {
        clip: digest and row_key(space.key, space.modality, digest)
        for clip, digest in zip(chosen.ids, digests, strict=True)
    }
    return {
        note["id"]: note["code"]
        for note in space.failures()
        if note["id"] in keys and note["key"] == keys[note["id"]]
    }


def leave_out(
    clips: Manifest, spaces: Sequence[Space], say: Callable[[str], None]
) -> tuple[Manifest, dict[str, str]]:
    """Leave out what extract could not embed; what it never saw is still an error later."""
    gone = {clip: code for space in spaces for clip, code in quarantined(space, clips).items()}
    if gone:
        counts = Counter(gone.values())
        codes = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
        say(f"{len(gone)} clips could not be embedded and are left out: {codes}")
        clips = clips.select([clip for clip in clips.ids if clip not in gone])
    return clips, gone
