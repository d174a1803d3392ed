"""Read the input of a head: the features of one space, or of two side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.errors import InputError, listed
from ...cache.identity.content_digests import row_key
from ...cache.space import Space
from ..heads.training.rows_on_disk import RowsOnDisk, is_large, stored_rows

if TYPE_CHECKING:
    from ...cache.manifest import Manifest
    from ...cache.space import Features


def accepts_missing_side(head: Any) -> bool:
    """Whether a head predicts clips without one side (``missing="predict"``)."""
    return getattr(head, "missing", "error") == "predict"


def head_for(features: Sequence[Features], template: Any, random_state: int) -> Any:
    """Return a copy of a head, set to the widths and layers of the features.

    Parameters
    ----------
    random_state : int
        For a head whose own is None.
    """
    from sklearn.base import clone

    head: Any = clone(template)
    settings = head.get_params()
    chosen: dict[str, Any] = {}
    if settings.get("random_state", 0) is None:
        chosen["random_state"] = random_state
    mixed = any(one.combine == "mix" for one in features)
    check_inputs(settings, type(head).__name__, len(features), mixes=mixed)
    if "widths" in settings:
        chosen["widths"] = tuple(one.width for one in features)
        chosen["n_layers"] = tuple(one.n_layers for one in features)
    elif mixed:
        chosen["n_layers"] = features[0].n_layers
    if mixed:
        chosen["layer_mix"] = True
    return head.set_params(**chosen)


def check_inputs(settings: Container[str], head: str, count: int, *, mixes: bool) -> None:
    """Check that a head with these settings takes so many encoders, and mixes their layers."""
    fuses = "widths" in settings
    if fuses and count != 2:
        raise InputError(f"{head} takes two encoders; got {count}")
    if mixes and "layer_mix" not in settings:
        raise InputError(f"{head} cannot mix layers; use combine: mean or concat")
    if mixes and count > 1 and not fuses:
        raise InputError(
            "only a fusion head (concat, mean, cross-attention) mixes the layers of two encoders"
        )


def features_of(
    clips: Manifest, features: Sequence[Features], *, gaps: bool = False, whole: bool = True
) -> np.ndarray | RowsOnDisk:
    """Return features as `read_features`, or leave them on the disk where they are many.

    Parameters
    ----------
    clips, features, gaps
        As for `read_features`.
    whole : bool
        Read them in any case.
    """
    many = is_large(len(clips), sum(one.width for one in features))
    if whole or not many or (gaps and len(features) > 1):
        return read_features(clips, features, gaps=gaps)
    rows = stored_rows(clips, features)

    def read(asked: np.ndarray) -> np.ndarray:
        values = rows.read(asked)
        if not np.isfinite(values).all():
            _refuse_not_finite(values, [clips.ids[row] for row in asked.tolist()])
        return values

    return RowsOnDisk(read, rows.width, rows.order)


def read_features(
    clips: Manifest, features: Sequence[Features], *, gaps: bool = False
) -> np.ndarray:
    """Read features ``(clips, width)`` float32, in the order of `clips`.

    Parameters
    ----------
    features : sequence of Features
        Side by side, in this order.
    gaps : bool
        Fill a missing side of a clip with NaN, as long as it has another one.

    Raises
    ------
    MissingError
        Clips that are not stored, and no gaps are borne.
    InputError
        A feature that is not finite; a clip without any side.
    """
    if not gaps or len(features) == 1:
        return join_features(clips.ids, [one.read(clips) for one in features])
    parts = []
    for one in features:
        missing = set(one.space.missing(clips))
        there = np.array([clip not in missing for clip in clips.ids], dtype=bool)
        values = np.full((len(clips), one.width), np.nan, np.float32)
        if there.any():  # a call may have no clip at all with this side: one file, no text
            values[there] = one.read(clips.select(there))
        parts.append((values, there))
    return join_features(clips.ids, [v for v, _ in parts], there=[there for _, there in parts])


def join_features(
    ids: Sequence[str], parts: Sequence[np.ndarray], there: Sequence[np.ndarray] | None = None
) -> np.ndarray:
    """Return the features of several sides, each ``(clips, width)``, side by side.

    Parameters
    ----------
    ids : sequence of str
        Of the clips, for messages.
    there : sequence of ndarray of bool, optional
        For each side the clips that have it, where gaps are accepted; all by default.
    """
    for position, values in enumerate(parts):
        _refuse_not_finite(values, ids, None if there is None else there[position])
    if there is not None and not (some := np.logical_or.reduce(there)).all():
        names = [ids[row] for row in np.flatnonzero(~some).tolist()]
        raise InputError(f"{len(names)} clips have no features at all: {listed(names)}")
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def check_sides(values: np.ndarray | RowsOnDisk, features: Sequence[Features]) -> None:
    """Refuse training rows ``(clips, width)`` in which no clip has one of the sides.

    Nothing could be learnt from it, not even its mean.
    """
    if isinstance(values, RowsOnDisk):  # every clip has all sides
        return
    start = 0
    for one in features:
        if np.isnan(values[:, start]).all():  # a missing side is NaN in all of its columns
            raise InputError(
                f"none of the {len(values)} clips of train has features of {one.space.name}; "
                "expected some clips with both: leave that space out, and train a head on the other"
            )
        start += one.width


def _refuse_not_finite(
    values: np.ndarray, ids: Sequence[str], there: np.ndarray | None = None
) -> None:
    wrong = ~np.isfinite(values).all(axis=1)
    if there is not None:
        wrong &= there
    if wrong.any():
        names = [ids[row] for row in np.flatnonzero(wrong).tolist()]
        raise InputError(
            f"{len(names)} clips have features that are NaN or infinite: {listed(names)}; "
            "`affekt cache verify` says which shard"
        )


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
    clips: Manifest, spaces: Sequence[Space], progress: Callable[[str], None]
) -> tuple[Manifest, dict[str, str]]:
    """Leave out what extract could not embed; clips never extracted raise an error later."""
    gone = {clip: code for space in spaces for clip, code in quarantined(space, clips).items()}
    if gone:
        counts = Counter(gone.values())
        codes = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
        progress(f"warning: {len(gone)} clips could not be embedded and are left out: {codes}")
        clips = clips.select([clip for clip in clips.ids if clip not in gone])
    return clips, gone
