"""Embed new clips in memory: no file, no cache, and the numbers that a cache would give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ....cache.identity.spec import Spec
from ....cache.layers import combine_layers
from ....cache.rows.collect import unstorable
from ....extract.encoder import Encoder
from ....extract.errors import Unusable
from ....extract.inputs.decode import Signal
from ....extract.inputs.isolated_decoder import decode_segments
from ....extract.inputs.text_checks import ready_text
from ....extract.running.feed import SEGMENTS, Ready, batches
from ..needs import Needs
from ..read_features import join_features
from .modalities_seen import Reason, Side
from .new_clip import RawClip
from .open_encoders import OpenEncoder

#: as `decode_segments`; a `Decoder` is one
Decode = Callable[..., list[Signal | Unusable]]
#: how much goes to an encoder at once by default
CLIPS, SECONDS = 64, 60.0


def embed(
    clips: Sequence[RawClip], opened: OpenEncoder, spec: Spec, decode: Decode | None = None
) -> Side:
    """Embed clips with an open encoder; one that cannot be embedded fails alone.

    Parameters
    ----------
    spec : Spec
        Of the space that a cache would hold them in.
    decode : callable, optional
        A `Decoder`, which decodes in a process of its own; in this one by default.
    """
    found = Side(spec.modality)
    backend = opened.encoder.backend
    most = backend.batch_clips or CLIPS
    seconds = backend.batch_seconds or SECONDS
    for batch in batches(_ready(clips, opened.encoder, decode or decode_segments), most, seconds):
        rows = [row for row in batch if row.failure is None]
        answers = opened.embed([row.content for row in rows]) if rows else []
        for row in batch:
            if row.failure is not None:
                found.failed[clips[row.position].id] = _reason(row.failure, clips[row.position])
        for row, answer in zip(rows, answers, strict=True):
            name = clips[row.position].id
            if isinstance(answer, Unusable):
                found.failed[name] = (answer.code, answer.message)
            elif code := unstorable(answer.values, spec.dtype):
                found.failed[name] = (code, Unusable(code).message)
            else:
                found.values[name] = answer.values.astype(spec.dtype).astype(np.float32)
                for flag in (*row.flags, *answer.flags):
                    found.flags.setdefault(flag, []).append(name)
    return found


def side_by_side(
    ids: Sequence[str],
    needs: Sequence[Needs],
    embedded: Mapping[str, Side],
    *,
    gaps: bool = False,
) -> np.ndarray:
    """Return the input of a head ``(clips, width)``, as `read_features` reads it from a cache.

    Parameters
    ----------
    ids : sequence of str
        Clips that have every side, or with `gaps` at least one.
    embedded : mapping of str to Side
        By spec key.
    gaps : bool
        Fill a missing side with NaN.
    """
    parts, masks = [], []
    for need in needs:
        values = embedded[need.spec.key].values
        there = np.array([name in values for name in ids], dtype=bool)
        part = np.full((len(ids), need.width), np.nan, np.float32)
        if there.any():
            layers = [values[name][list(need.layers)] for name in ids if name in values]
            part[there] = combine_layers(np.stack(layers), need.combine)
        parts.append(part)
        masks.append(there)
    return join_features(ids, parts, masks if gaps and len(needs) > 1 else None)


def _ready(clips: Sequence[RawClip], encoder: Encoder, decode: Decode) -> Iterator[Ready]:
    """Yield every clip, decoded, or with the reason why it cannot be."""
    if encoder.modality == "text":
        for position, clip in enumerate(clips):
            row = Ready(position)
            try:
                row.content = ready_text(clip.text or "")
            except Unusable as error:
                row.failure = error
            yield row
        return
    rate, rules = encoder.backend.sampling_rate, encoder.decoding_rules()
    for group in _of_one_file(clips):
        rows = [Ready(position) for position in group]
        segments = [(clips[position].start, clips[position].end) for position in group]
        try:
            answers = decode(clips[group[0]].content(), segments, rate, **rules)
        except Unusable as error:
            answers = [error] * len(group)
        for row, answer in zip(rows, answers, strict=True):
            row.fill(answer, refuse_silence=encoder.silence == "refuse")
            yield row


def _of_one_file(clips: Sequence[RawClip]) -> Iterator[list[int]]:
    """Yield the positions of a clip, or of a few segments of one file, which is read once."""
    group: list[int] = []
    for position, clip in enumerate(clips):
        same = group and isinstance(clip.audio, Path) and clip.audio == clips[group[0]].audio
        if group and (not same or len(group) == SEGMENTS):
            yield group
            group = []
        group.append(position)
    if group:
        yield group


def _reason(error: Unusable, clip: RawClip) -> Reason:
    """Report a missing side in the words for a blank cell of a manifest."""
    if error.code == "empty_text" and not clip.text:
        return "no text", ""
    if error.code == "missing" and clip.audio is None:
        return "no audio", ""
    return error.code, error.message
