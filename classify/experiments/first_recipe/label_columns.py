"""Which columns of a table may be its labels, and labels that are lists of others."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

from ....cache.errors import in_shell, listed
from ....cache.manifest.column_names import translated
from ....cache.manifest.columns import COLUMNS
from ....cache.manifest.described import MOST_LABELS, are_numbers, ratings_of_raters
from ...data.vocabulary import shipped
from ...data.votes import PREFIX

if TYPE_CHECKING:
    from ....cache.manifest import Manifest

MARKS = " []\"'"  # around a label in a list


def columns_of_labels(clips: Manifest) -> str:
    """Say which columns of a table without labels may be the labels."""
    others = {name: clips[name] for name in clips.columns if name not in COLUMNS}
    flags = [name for name, values in others.items() if set(values) - {""} == {"0", "1"}]
    ones = [row.count("1") for row in zip(*(others[name] for name in flags), strict=True)]
    if len(flags) > 1 and set(ones) == {1}:
        return f"one of {listed(flags)} is 1 in each row: write its name into a column label"
    if len(flags) > 2 and max(ones) > 1:
        several = sum(count > 1 for count in ones)
        return (
            f"{listed(flags)} are yes or no, and in {several} rows several are 1, but a task has "
            "one label for each clip: rename the column to learn to label, or rename them "
            f"{PREFIX}{flags[0]} and so on to learn their shares"
        )
    if advice := ratings_of_raters(clips):
        return advice
    shares = [name for name, values in others.items() if are_numbers(values)]
    rows = zip(*(others[name].astype(float) for name in shares), strict=True)
    if len(shares) > 1 and all(min(row) >= 0 and abs(sum(row) - 1) < 0.02 for row in rows):
        return (
            f"{listed(shares)} are shares of each clip: rename them {PREFIX}{shares[0]} and so on "
            "to learn them"
        )
    few = [n for n, values in others.items() if 1 < len(set(values) - {""}) < len(clips) / 2]
    few = [name for name in few if len(set(others[name])) <= MOST_LABELS]
    few = [name for name in few if translated(name) in ("", "label")]
    few = [name for name in few if translated(name)] or few
    advice = "rename the one that is the label" + (f": {' or '.join(few)}?" if few else "")
    counts = [name for name in few if all(value.isdecimal() for value in others[name])]
    alike = {name: frozenset(others[name]) for name in few if name not in counts}
    raters = [name for name, own in alike.items() if list(alike.values()).count(own) > 1]
    if len(counts) > 1:
        advice += f" If they count raters' votes, rename them {PREFIX}{counts[0]} and so on"
    elif raters:
        advice += f" If {listed(raters)} are raters, rename them rater1, rater2 and so on"
    elif few:
        advice += f" Or run affekt manifest with --column {in_shell(f'label={few[0]}')}"
    return advice


def emotion_words() -> dict[str, str]:
    """Return word -> its emotion in affekt's vocabulary."""
    words = {}
    for word, others in shipped()["emotions"].items():
        words |= dict.fromkeys((word, *map(str, others)), word)
    return words


def emotions_in_names(clips: Manifest) -> str:
    """Return a note where speakers or names of recordings are emotions: labels may be speakers.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> paths = [f"{who}/{what}_1.wav" for who in ("anna", "bela") for what in ("joy", "fear")]
    >>> rows = [{"path": path, "label": path[:4]} for path in paths]
    >>> emotions_in_names(Manifest.from_rows(rows))[:65]
    '; but the names of the recordings hold emotions (fear, happiness)'
    """
    words = {word: emotion for word, emotion in emotion_words().items() if len(word) > 2}
    speakers = sorted({name.casefold() for name in clips["speaker"] if name})
    if len(speakers) > 1 and words.keys() >= {*speakers}:
        return f"; but the speakers are emotions ({listed(speakers)}): exchange the two columns"
    names = [re.split(r"[\W\d_]+", PurePath(path).stem.casefold()) for path in clips["path"]]
    found = [words[part] for parts in names for part in parts if part in words]
    if 2 * len(found) < len(names) or len(set(found)) < 2:
        return ""
    return (
        f"; but the names of the recordings hold emotions ({listed(sorted(set(found)))}): are the "
        "labels the speakers? affekt manifest FOLDER --as '{speaker}/{label}_{}' reads both"
    )


def several_labels(counts: Counter[str]) -> str:
    """Say what to do about labels that are lists of others, such as ``joy,anger``.

    Examples
    --------
    >>> several_labels(Counter(["joy", "anger", "joy,anger"]))[:46]
    "the label 'joy,anger' is several labels in one"
    >>> several_labels(Counter(['{"joy": 3}', '{"joy": 2, "fear": 1}']))[-30:]
    'votes:joy, and set votes: true'
    >>> several_labels(Counter(["joy", "anger, cold"]))
    ''
    """
    plain = {raw.strip(MARKS) for raw in counts}
    for raw in counts:
        if raw.startswith("{") and raw.endswith("}"):
            return (
                f"the label {raw!r} is several labels in one cell, with their votes: put each into "
                f"a column of its own, such as {PREFIX}joy, and set votes: true"
            )
        for mark in ",;|":
            parts = [part.strip(MARKS) for part in raw.split(mark)]
            if len(parts) > 1 and plain.issuperset(parts):
                return (
                    f"the label {raw!r} is several labels in one cell: a task has one label for "
                    "each clip. Keep one, or put each into a column of its own, such as "
                    f"{PREFIX}joy, to learn their shares"
                )
    return ""
