"""Take the division of an old `split.csv`, and deal new clips into it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....cache.errors import InputError, counted, listed
from ....cache.files.home_folder import at_home
from . import leaks
from .split import PARTS
from .split_file import line_of, read_split_file

if TYPE_CHECKING:
    from ....cache.manifest import Manifest

HELD_OUT = {
    "leave-one-speaker-out": "speaker",
    "leave-one-language-out": "language",
    "leave-one-corpus-out": "dataset",
}

Role = tuple[str, ...]  # the part of a clip in each fold
Division = tuple[str, list[tuple[str, np.ndarray, list[str]]]]


def continue_split(
    clips: Manifest, path: str | Path, key: str = "0", *, needs_train: bool = True
) -> Division:
    """Divide clips as a split file does; clips that it does not name are dealt in.

    A new clip of a known speaker goes where that speaker is. New speakers are dealt, in the order
    of a hash of their names, to where most is missing of the shares that the file has; where the
    file divides speakers, single clips are. What the file names stays where it is.

    Parameters
    ----------
    clips
        Labelled clips.
    path
        As `read_split_file` takes it.
    key
        Another key deals new speakers in another order.
    needs_train
        Whether a file without train clips is an error.

    Returns
    -------
    scheme
        "file", or the scheme that holds out one value in each fold.
    folds
        Name, part of each clip `(clips,)`, 0 train, 1 dev, 2 test, and notes (of the first fold):
        how many clips are new and where they went; which clips of the file are gone.
    """
    path = Path(at_home(path))
    folds = read_split_file(path)
    roles: dict[str, Role] = {
        clip: tuple(here[clip] for here in folds.values()) for clip in next(iter(folds.values()))
    }
    here = [clip for clip in clips.ids if clip in roles]
    if not here:
        raise InputError(
            f"{path}: none of its {len(roles)} ids is a clip of {clips.source} with a label; "
            "expected the split of the same clips"
        )
    new = [row for row, clip in enumerate(clips.ids) if clip not in roles]
    here_ids = set(here)
    gone = sorted(clip for clip in roles if clip not in here_ids)
    if pairs := leaks.look_alikes(gone, clips.ids):
        old, name = pairs[0]
        raise InputError(
            f"{path}, line {line_of(path, old)}: {old!r} is not a clip of {clips.source}, which "
            f"has {name!r} ({len(pairs)} such pairs); expected one spelling of each id"
        )
    scheme = _held_out(clips, folds)
    dealt = _deal(clips, new, roles, scheme, list(folds), key, path) if new else {}
    notes = _notes(path, dealt, gone)
    found = []
    for number, name in enumerate(folds):
        words = [roles[c][number] if c in roles else dealt[c][number] for c in clips.ids]
        parts = np.array([PARTS.index(word) for word in words])
        for word in ("train", "test") if needs_train else ("test",):
            if not (parts == PARTS.index(word)).any():
                where = f" of fold {name!r}" if name else ""
                raise InputError(
                    f"{path}: none of the clips of {clips.source} is in {word}{where}; expected "
                    "some. Make a new split with a scheme"
                )
        found.append((name, parts, [] if found else notes))
    return scheme, found


def _held_out(clips: Manifest, folds: Mapping[str, Mapping[str, str]]) -> str:
    """Return the scheme by which each fold tests all clips of the value that names it."""
    for scheme, column in HELD_OUT.items() if len(folds) > 1 else ():
        values = dict(zip(clips.ids, leaks.group_names(clips, column), strict=True))
        if all(
            clip not in values or (values[clip] == name) == (part == "test")
            for name, here in folds.items()
            for clip, part in here.items()
        ):
            return scheme
    return "file"


def _deal(
    clips: Manifest,
    new: Sequence[int],
    roles: Mapping[str, Role],
    scheme: str,
    folds: Sequence[str],
    key: str,
    path: Path,
) -> dict[str, Role]:
    """Return the role of each new clip."""
    speakers = leaks.speakers(clips)
    of_speaker: dict[str, set[Role]] = defaultdict(set)
    for clip, speaker in zip(clips.ids, speakers, strict=True):
        if speaker and clip in roles:
            of_speaker[speaker].add(roles[clip])
    whole = all(len(own) == 1 for own in of_speaker.values())
    labels = {label: code for code, label in enumerate(sorted({str(x) for x in clips["label"]}))}
    code = np.array([labels[str(label)] for label in clips["label"]])
    choices = sorted(set(roles.values()))
    held = leaks.group_names(clips, HELD_OUT[scheme]) if scheme in HELD_OUT else None
    if held is not None and (strange := sorted({held[row] for row in new} - set(folds))):
        raise InputError(
            f"{path} has a fold for each {HELD_OUT[scheme]}, and none for {listed(strange)} of "
            f"{clips.source}; make a new split with scheme: {scheme}, or leave those clips out"
        )
    # the shares of each role, by label and (last) of all clips
    old = np.zeros((len(choices), len(labels) + 1))
    place = {role: at for at, role in enumerate(choices)}
    for clip, label in zip(clips.ids, code, strict=True):
        if clip in roles:
            old[place[roles[clip]], [label, -1]] += 1
    count = Counter(roles.values())
    share = np.array([count[role] for role in choices]) / len(roles)
    groups: dict[str, list[int]] = defaultdict(list)
    for row in new:
        groups[speakers[row] if whole and speakers[row] else f"\0{clips.ids[row]}"].append(row)
    dealt: dict[str, Role] = {}
    for name in sorted(groups, key=lambda name: hashlib.sha256(f"{key}\0{name}".encode()).digest()):
        rows = groups[name]
        size = np.zeros(old.shape[1])
        np.add.at(size, code[rows], 1)
        size[-1] = len(rows)
        if whole and name in of_speaker:
            [role] = of_speaker[name]
        else:
            allowed = [
                at
                for at, role in enumerate(choices)
                if held is None or role[folds.index(held[rows[0]])] == "test"
            ]
            weight = share[allowed] / share[allowed].sum()
            have = old[allowed]
            total = have.sum(axis=0) + size
            miss = have - weight[:, None] * total
            # of a square that grows from miss to miss + size, what depends on the place
            cost = (((miss + size) ** 2 - miss**2) / np.maximum(total, 1) ** 2).sum(axis=1)
            role = choices[allowed[int(np.argmin(cost))]]
        old[place[role]] += size
        dealt.update({clips.ids[row]: role for row in rows})
    return dealt


def _notes(path: Path, dealt: Mapping[str, Role], gone: Sequence[str]) -> list[str]:
    notes = []
    if dealt:
        each = ""
        if len(next(iter(dealt.values()))) == 1:
            counts = Counter(role[0] for role in dealt.values())
            each = " (" + ", ".join(f"{counts[p]} to {p}" for p in PARTS if counts[p]) + ")"
        they = counted(len(dealt), "clip") + (" is" if len(dealt) == 1 else " are")
        notes.append(f"{they} not in {path} and assigned to its parts{each}")
    if gone:
        notes.append(
            f"{counted(len(gone), 'clip')} of {path} are not used here: {listed(list(gone))}"
        )
    return notes
