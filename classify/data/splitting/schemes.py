"""Splits of a manifest into train, dev and test, with leak checks.

Every scheme keeps speakers and recordings on one side, or refuses; nothing is ever silently empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ....cache.errors import InputError, as_number, check_number, counted, listed, nearest, one_of
from ....cache.manifest.manifest import check_manifest
from . import leaks
from .findings import Finding, Kind
from .folds import deal_clips, deal_groups
from .near_duplicates import check_near_duplicates
from .old_split import HELD_OUT, continue_split
from .split import PARTS, Split
from .split_file import PART_NAMES

if TYPE_CHECKING:
    from ....cache.cache import Cache
    from ....cache.manifest import Manifest
    from ..task import Task

Scheme = Literal[
    "auto",
    "column",
    "stratified",
    "speaker",
    "group-kfold",
    "leave-one-speaker-out",
    "leave-one-language-out",
    "leave-one-corpus-out",
]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
FEWEST, MANY = 5, 25  # speakers, between which every one of them is needed in test
FEW = 3  # test speakers, too few to generalise to others
REPEATABLE = ("auto", "stratified", "speaker", "group-kfold")  # the others divide in one way only


def splits(
    clips: Manifest,
    scheme: Scheme = "speaker",
    *,
    test_size: float = 0.2,
    dev_size: float = 0.1,
    random_state: int = 0,
    n_splits: int = 5,
    repeats: int = 1,
    column: str = "split",
    group: str = "speaker",
    file: str | Path | None = None,
    task: Task | None = None,
    allow_speaker_overlap: bool = False,
    allow_duplicates: bool = False,
    needs_train: bool = True,
    digests: Cache | Sequence[str | None] | Mapping[str, str | None] | None = None,
    embed: Callable[[Manifest], np.ndarray] | None = None,
    reads_texts: bool = True,
) -> list[Split]:
    """Divide clips into train, dev and test.

    Parameters
    ----------
    clips
        The manifest.
    scheme
        ``auto`` (``group-kfold`` by speaker where 5 to 24 speakers are known, else ``speaker``),
        ``column`` (the parts that the manifest names), ``stratified`` (by label only), ``speaker``
        (speaker-disjoint and alike in labels), ``group-kfold`` (each group is tested once),
        ``leave-one-speaker-out``, ``leave-one-language-out``, ``leave-one-corpus-out``.
    test_size, dev_size
        Shares of all clips. dev comes out of what is not tested, by speaker where speakers are
        known; in ``column`` only where the manifest names no dev. With folds no clip is dev twice:
        in ``group-kfold`` dev is the next fold whatever `dev_size` above 0 is.
    random_state
        Seed; one seed gives one result.
    n_splits
        Folds of ``group-kfold``.
    repeats
        How often ``stratified``, ``speaker`` and ``group-kfold`` are repeated with other draws.
    column, group
        Columns of the parts (``column``) and of the groups (``group-kfold``).
    file
        A `split.csv` to continue, instead of a scheme: its clips stay where they are, new ones are
        dealt in by `random_state`.
    task
        If given, clips are selected and labelled by it first.
    allow_speaker_overlap, allow_duplicates
        Turn the errors of the leak checks into warnings.
    needs_train
        Whether a ``column`` that names no train clip is an error; not where nothing is trained.
    digests
        Content digest of each clip, or a `Cache` that has them; without, a recording
        under two ids is not found.
    embed
        Returns embeddings `(clips, dim)`, for instance `Features.read`: near-duplicates of train
        clips in dev and test become warnings.
    reads_texts
        Whether texts that occur in two parts become warnings: they matter where texts are read.

    Returns
    -------
    splits
        One `Split`; one for each fold, repeat or value held out.

    Raises
    ------
    InputError
        If the scheme is unknown or does not fit the manifest, a part would be empty, or a leak is
        found.
    """
    check_manifest(clips)
    one_of(scheme, SCHEMES, "scheme")
    for name, value, kind, fits, expected in (
        ("test_size", test_size, Real, lambda n: 0 < n < 1, "a share between 0 and 1"),
        ("dev_size", dev_size, Real, lambda n: 0 <= n < 1, "a share from 0 to below 1"),
        ("n_splits", n_splits, Integral, lambda n: n >= 2, "at least 2 folds"),
        ("repeats", repeats, Integral, lambda n: n >= 1, "at least 1 repeat"),
    ):
        if not isinstance(value, kind) or not fits(value):
            raise InputError(f"`{name}={value!r}`; expected {expected}{as_number(value)}")
    check_number("random_state", random_state, 0, whole=True)
    if task is not None:
        clips, _ = task.select(clips)
    if scheme == "group-kfold" and n_splits > max(len(clips), 2):
        raise InputError(f"`{n_splits=}`, and there are {len(clips)} clips; expected fewer")
    if len(clips) < 2:
        raise InputError(f"{clips.source}: {len(clips)} clips to split; expected at least 2")
    if file is not None:
        made, divided = continue_split(clips, file, str(random_state), needs_train=needs_train)
    else:
        made = scheme
        if scheme == "auto":
            speakers = len(set(leaks.speakers(clips)) - {""})
            made = "group-kfold" if FEWEST <= speakers < MANY else "speaker"
            group, n_splits = "speaker", FEWEST
        times = repeats if made in REPEATABLE else 1
        divided = [
            (
                f"repeat {repeat + 1}" + f", {name}" * bool(name) if repeats > 1 else name,
                parts,
                notes,
            )
            for repeat in range(times)
            for name, parts, notes in _scheme(
                *(clips, made, test_size, dev_size, n_splits, column, group),
                *(f"{random_state}/{repeat}", needs_train),
            )
        ]
    known = _digests(clips, digests)
    values = None if embed is None else np.asarray(embed(clips))
    made_of = []
    for name, parts, notes in divided:
        rows = {part: parts == code for code, part in enumerate(PARTS)}
        by_name = {part: clips.select(at) for part, at in rows.items()}
        near = {} if values is None else {part: values[at] for part, at in rows.items()}
        warnings = [
            *notes,
            *(check_near_duplicates(by_name, near) if near else ()),
            *leaks.check_speakers(by_name, allow=allow_speaker_overlap),
            *leaks.check_duplicates(by_name, known, allow=allow_duplicates),
            *_unread(by_name, known),
            *(leaks.check_texts(by_name) if reads_texts else ()),
            *_missing_labels(by_name),
        ]
        made_of.append(Split(**by_name, scheme=made, name=name, warnings=tuple(warnings)))
    return made_of


def _scheme(
    clips: Manifest,
    scheme: str,
    test_size: float,
    dev_size: float,
    n_splits: int,
    column: str,
    group: str,
    key: str,
    needs_train: bool,
) -> Iterator[tuple[str, np.ndarray, list[str]]]:
    """Yield name, part of each clip and notes of each split."""
    labels = _strata(clips)
    shares = [1 - test_size - dev_size, dev_size, test_size]
    if scheme == "column":
        parts = _column(clips, column, needs_train)
        notes = []
        if not (parts == 1).any() and (parts == 0).any() and dev_size:
            _carve_dev(clips, parts, labels, dev_size, key)
            notes = [f"no dev in column {column!r}: {dev_size:g} of all clips go from train to dev"]
        yield "", parts, notes
    elif scheme == "stratified":
        yield "", deal_clips(labels[:, 1], clips.ids, shares, key), []
    elif scheme == "speaker":
        groups = _groups(clips, "speaker", scheme)
        parts = deal_groups(labels, groups, shares, key, strata=clips["dataset"])
        yield "", parts, _few_speakers(groups[parts == 2])
    elif scheme == "group-kfold":
        groups, equal = _groups(clips, group, scheme), [1 / n_splits] * n_splits
        if (count := len(set(groups))) < n_splits:
            each = " (or leave-one-speaker-out, which tests each one once)" * (group == "speaker")
            raise InputError(
                f"{count} values of {group} for {n_splits} folds; expected at least one in each: "
                f"take `n_splits` of at most {count}, or `scheme='auto'`{each}"
            )
        folds = deal_groups(
            labels,
            groups,
            equal,
            key,
            strata=clips["dataset"],
            next_is_dev=n_splits > 2 and dev_size > 0,
        )
        for fold in range(n_splits):
            parts = np.where(folds == fold, 2, 0)
            if n_splits > 2 and dev_size:
                parts[folds == (fold + 1) % n_splits] = 1
            yield f"fold {fold + 1}", parts, []
    else:
        held = HELD_OUT[scheme]
        groups = _groups(clips, held, scheme)
        values = np.unique(groups)
        free = np.ones(len(clips), dtype=bool)  # not dev in a fold before
        for number, value in enumerate(values):
            parts = np.where(groups == value, 2, 0)
            if held == "speaker" and dev_size and len(values) > 2:
                parts[groups == values[(number + 1) % len(values)]] = 1
            else:
                share = min(dev_size, 0.9 / len(values))  # of all, so that no clip is dev twice
                _carve_dev(clips, parts, labels, share, f"{key}/{value}", free=free)
            free &= parts != 1
            yield str(value), parts, []


def _column(clips: Manifest, column: str, needs_train: bool) -> np.ndarray:
    if column not in clips:
        raise InputError(
            f"{clips.source}: no column {column!r} for the split (`column`); it has "
            f"{', '.join(clips.columns)}.{nearest(column, clips.columns)}"
        )
    values = [str(value).strip().casefold() for value in clips[column]]
    wrong = Counter(value for value in values if value not in PART_NAMES)
    if wrong:
        raise InputError(
            f"{clips.source}: column {column!r} holds "
            + ", ".join(f"{value or 'blank'!r} ({n} rows)" for value, n in wrong.most_common(5))
            + "; expected train, dev or test in each row. Fill it, or use another scheme"
        )
    parts = np.array([PARTS.index(PART_NAMES[value]) for value in values])
    for code in (0, 2) if needs_train else (2,):
        if not (parts == code).any():
            raise InputError(f"{clips.source}: column {column!r} names no {PARTS[code]} clip")
    return parts


def _carve_dev(
    clips: Manifest,
    parts: np.ndarray,
    labels: np.ndarray,
    dev_size: float,
    key: str,
    *,
    free: np.ndarray | None = None,
) -> None:
    """Move a share of train to dev, whole speakers where they are known, in place.

    Clips that are not `free` stay in train, unless too few others are there.
    """
    train = np.flatnonzero(parts == 0)
    everyone = np.array(leaks.group_names(clips, "speaker"), dtype=object)
    if free is not None:
        fresh = train[free[train]]
        several = len(set(everyone[fresh])) > 1 or not any(everyone[fresh])
        if several and len(fresh) > dev_size * len(parts):
            train = fresh
    share = dev_size * len(parts) / max(len(train), 1)
    if not dev_size:
        return
    if share >= 1:
        raise InputError(f"`{dev_size=:g}` leaves nothing of {len(train)} clips for train")
    names = everyone[train]
    shares = [1 - share, share]
    if len(set(names)) == 1 and names[0]:
        raise InputError(
            f"only the speaker {names[0]!r} is left to divide into train and dev; set "
            "`dev_size=0`, or hold out less"
        )
    if len(set(names) - {""}) > 1:
        single = np.array([f"\1{name}" for name in clips.ids], dtype=object)[train]
        groups = np.where(names == "", single, names)
        corpora = np.asarray(clips["dataset"])[train]
        dealt = deal_groups(labels[train], groups, shares, f"{key}/dev", strata=corpora)
    else:
        dealt = deal_clips(labels[train, 1], np.asarray(clips.ids)[train], shares, f"{key}/dev")
    parts[train] = dealt


def _few_speakers(tested: np.ndarray) -> list[str]:
    found = sorted(set(tested))
    if len(found) > FEW:
        return []
    has = f"test has {counted(len(found), 'speaker')} ({listed(found)})"
    scheme = "scheme: group-kfold tests every speaker once"
    return [f"{has}: too few for an interval or a test; {scheme}"]


def _strata(clips: Manifest) -> np.ndarray:
    """Return label, and label within language, of each clip: `(clips, 2)`."""
    pairs = [f"{a}\0{b}" for a, b in zip(clips["label"], clips["language"], strict=True)]
    return np.stack([_codes(clips["label"]), _codes(pairs)], axis=1)


def _groups(clips: Manifest, column: str, scheme: str) -> np.ndarray:
    if column not in clips:
        there = [name for name in clips.columns if name != "raw_label"]  # of `Task.select`
        raise InputError(
            f"{clips.source}: no column {column!r} for `scheme={scheme!r}`; it has "
            f"{', '.join(there)}.{nearest(column, there)} Add the column, or take "
            "`scheme='stratified'`, which divides by label alone: clips of one speaker may then be "
            "in train and in test"
        )
    names = leaks.group_names(clips, column)
    blank = [row for row, name in enumerate(names) if not name]
    if blank:
        raise InputError(
            f"{clips.source}: {len(blank)} of {len(clips)} clips have no {column} (first in "
            f"{clips.spot(blank[0])}); `scheme={scheme!r}` expects one for each. Fill the column, "
            "leave those clips out, or take `scheme='stratified'` or `scheme='column'`"
        )
    if len(set(names)) == 1:
        raise InputError(
            f"{clips.source}: one {column} only ({names[0]!r}); `scheme={scheme!r}` expects several"
        )
    return np.array(names, dtype=object)


def _codes(values: Sequence[str] | np.ndarray) -> np.ndarray:
    return np.unique(np.asarray([str(v) for v in values], dtype=object), return_inverse=True)[1]


def _digests(clips: Manifest, digests: Any) -> dict[str, str | None]:
    if digests is None:
        return {}
    if isinstance(digests, Mapping):
        return dict(digests)
    values = digests.digests(clips, "audio") if hasattr(digests, "digests") else list(digests)
    if len(values) != len(clips):
        raise InputError(f"{len(values)} digests for {len(clips)} clips; expected one for each")
    return dict(zip(clips.ids, values, strict=True))


def _unread(by_name: Mapping[str, Manifest], digests: Mapping[str, str | None]) -> list[str]:
    clips = [clip for part in by_name.values() for clip in zip(part.ids, part["path"], strict=True)]
    unknown = sum(bool(path) and not digests.get(i) for i, path in clips)
    were = "recording was" if unknown == 1 else "recordings were"
    text = f"{{}} {were} not read, so not checked for duplicates"
    return [Finding(text, Kind.RECORDINGS, unknown)] if unknown else []


def _missing_labels(by_name: Mapping[str, Manifest]) -> Iterator[str]:
    """Yield which labels are in train or in another part alone."""
    known = set(by_name["train"]["label"])
    for part in ("dev", "test") if known else ():
        there = set(by_name[part]["label"])
        if there and (lacking := sorted(known - there)):
            yield f"{part} has no clip of {', '.join(lacking)}"
        if more := sorted(there - known):
            yield f"{part} has clips of {', '.join(more)}, and train has none"
