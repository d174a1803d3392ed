"""What a manifest was made of: which column was taken for what, and what is in each."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, counted, folder_name, listed, one_line
from .columns import COLUMNS, TIMES
from .tables.cells import rated

if TYPE_CHECKING:
    from .manifest import Manifest

MOST_LABELS = 30
SHOWN = 8  # labels, speakers and the like that are listed
LOOKED_FOR = 1000  # files, at most
LACKING = {  # what does not work without a column
    "path": "nothing to hear",
    "text": "no text encoder",
    "label": "no training and no scores: which column is it? Name it label",
    "speaker": "no splits by speaker: clips of one speaker may be in train and in test",
}

DIMENSIONS = {
    "arousal": ("arousal", "activation", "emoact", "aro", "act", "erregung", "activación"),
    "valence": ("valence", "emoval", "val", "valenz", "valencia"),
    "dominance": ("dominance", "emodom", "dom", "dominanz", "dominancia"),
}


def described(clips: Manifest, kind: str) -> dict[str, Any]:
    """Return how many clips there are, and of each column its source and its content.

    Parameters
    ----------
    kind : str
        What it was read as, such as ``table``.

    Returns
    -------
    dict
        ``columns`` has ours, ``kept`` the others; ``notes`` are those of the manifest.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> clips = Manifest.from_rows([{"text": "good", "emotion": "joy", "take": 2}])
    >>> found = described(clips, "table")
    >>> found["columns"]["label"], found["kept"]
    ('from emotion: joy 1', {'take': '2'})
    """
    columns: dict[str, str] = {}
    for name in COLUMNS:
        if name in clips:
            origin = _origin(clips, name) if kind == "table" else ""
            content = _content(clips, name)
            mark = ", " if content.startswith("such as") else ": "
            columns[name] = mark.join(part for part in (origin, content) if part)
        elif name in LACKING:
            columns[name] = f"none: {LACKING[name]}"
    if "label" not in clips and (by := rated_columns(clips)):
        names = [name for own in by.values() for name in own]
        columns["label"] = (
            f"none; {listed(names)} look{'s' * (len(names) == 1)} like ratings of "
            f"{listed(list(by))}{' by several people' * (len(names) > len(by))}: affekt init makes "
            "a regression task from them"
        )
    elif "label" not in clips and (several := raters(clips)):
        columns["label"] = (
            f"none; {listed(several)} look like what raters said: affekt init writes a recipe that "
            "learns from all of them"
        )
    elif "label" not in clips and (advice := ratings_of_raters(clips)):
        columns["label"] = f"none; {advice}"
    absent = [name for name in COLUMNS if name not in columns and name not in TIMES]
    if absent:
        columns["none"] = ", ".join(absent)
    kept = {name: _content(clips, name) for name in clips.columns if name not in COLUMNS}
    return {
        "clips": len(clips), "kind": kind, "columns": columns, "kept": kept,
        "notes": list(clips.notes),
    }  # fmt: skip


def rated_columns(clips: Manifest) -> dict[str, tuple[str, ...]]:
    """Return dimension -> the column that has numbers of it, or those of its raters."""
    one, several = ratings(clips), raters_of_numbers(clips)
    found = {name: (one[name],) if name in one else several.get(name, ()) for name in DIMENSIONS}
    return {name: columns for name, columns in found.items() if columns}


def ratings(clips: Manifest) -> dict[str, str]:
    """Return dimension -> the column that has numbers of it.

    V, A and D are taken for valence, arousal and dominance where at least V and A are there.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> rows = [{"text": "t", "EmoAct": str(n), "age": str(n)} for n in range(3)]
    >>> ratings(Manifest.from_rows(rows))
    {'arousal': 'EmoAct'}
    """
    mean = r"[\s_.-]+|^(mean|avg|average)(?=[\W_])|(?<=[\W_])(mean|avg|average)$"
    folded = {re.sub(mean, "", name.casefold()): name for name in clips.columns}
    found = {}
    for dimension, names in DIMENSIONS.items():
        letter = (dimension[0],) * ({"v", "a"} <= folded.keys())
        column = next((folded[name] for name in (*names, *letter) if name in folded), None)
        if column is not None and column != "label" and _mostly_numbers(clips, column) > 2:
            found[dimension] = column
    return found


def _mostly_numbers(clips: Manifest, column: str) -> int:
    """Return how many different numbers a column has; 0 where they are not most of its values."""
    values = {value for value in rated(clips[column].tolist()) if value}
    numbers = sum(are_numbers([value]) for value in values)
    return numbers if 2 * numbers > len(values) else 0


def columns_of_ratings(clips: Manifest) -> dict[str, tuple[str, ...]]:
    """Return dimension -> columns of numbers with its name, and perhaps another word.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> rows = [{"text": "t", "arousal_A": one, "arousal_B": "4"} for one in ("3", "5")]
    >>> columns_of_ratings(Manifest.from_rows(rows))
    {'arousal': ('arousal_A', 'arousal_B')}
    """
    found = {}
    for dimension, names in DIMENSIONS.items():
        columns = tuple(
            name
            for name in clips.columns
            if set(re.split(r"[\W_\d]+", name.casefold())).intersection(names)
            and _mostly_numbers(clips, name)
        )
        if columns:
            found[dimension] = columns
    return found


def raters_of_numbers(clips: Manifest) -> dict[str, tuple[str, ...]]:
    """Return dimension -> columns of its ratings by raters who have a number or a letter.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> rows = [{"text": "t", "valence_R1": one, "valence_R2": "4"} for one in ("3", "5")]
    >>> raters_of_numbers(Manifest.from_rows(rows))
    {'valence': ('valence_R1', 'valence_R2')}
    """
    one = re.compile(r"(r|rater|annotator|coder|judge|evaluator|rating)?(\d+|[a-z])")
    alone = re.compile(r"(r|rater|annotator|coder|judge|evaluator)(\d+|[a-z])")
    found = {}
    for dimension, columns in columns_of_ratings(clips).items():
        word = rf"(?<![^\W\d_])({'|'.join(DIMENSIONS[dimension])})(?![^\W\d_])|[\W_]"
        rest = {name: re.sub(word, "", name.casefold()) for name in columns}
        own = tuple(name for name in columns if rest[name])
        how = one if len(own) > 1 else alone
        if own and all(how.fullmatch(rest[name]) for name in own):
            found[dimension] = own
    return found


def ratings_of_raters(clips: Manifest) -> str:
    """Return what to do about numbers of one dimension in several columns; blank if there are none.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> rows = [{"text": "t", "arousal_Ann": one, "arousal_Ben": "4"} for one in ("3", "5")]
    >>> ratings_of_raters(Manifest.from_rows(rows))
    'arousal_Ann, arousal_Ben: if these are ratings by several people, write a task file with ...'
    """
    found = {name: own for name, own in columns_of_ratings(clips).items() if len(own) > 1}
    if not found:
        return ""
    raters = [
        f"{dimension}: {{raters: [{', '.join(columns)}], range: [LOW, HIGH]}}"
        for dimension, columns in found.items()
    ]
    return (
        f"{listed([name for own in found.values() for name in own])}: if these are ratings by "
        "several people, write a task file with two lines, type: regression and "
        f"dimensions: {{{', '.join(raters)}}}"
    )


def raters(clips: Manifest) -> tuple[str, ...]:
    """Return the columns of one set of labels whose names differ in their last letter or number.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> rows = [{"text": "t", "coder A": one, "coder B": "joy"} for one in ("joy", "fear")]
    >>> raters(Manifest.from_rows(rows))
    ('coder A', 'coder B')
    """
    alike: dict[str, dict[str, set[str]]] = {}
    for name in clips.columns:
        values = {value.casefold() for value in clips[name] if value and name not in COLUMNS}
        if values and len(values) <= MOST_LABELS and not are_numbers(values):
            stem = re.sub(r"[\s_.-]*(\d+|[A-Z]|(?<![a-z])[a-z])$", "", name)
            alike.setdefault(stem if stem != name else "", {})[name] = values
    alike.pop("", None)
    for columns in alike.values():
        shared = set.intersection(*columns.values())
        if len(columns) > 1 and 2 * len(shared) >= len(set.union(*columns.values())) > 1:
            return tuple(columns)
    return ()


def are_numbers(values: Iterable[str]) -> bool:
    """Whether every text is a finite number."""
    try:
        return all(math.isfinite(float(value)) for value in values)
    except ValueError:
        return False


def _origin(clips: Manifest, name: str) -> str:
    taken = clips.taken.get(name)
    if taken:
        return f"from {' and '.join(taken)}"
    if name != "id":
        return ""
    if "path" not in clips:
        return "the numbers of the rows"
    return "the paths" + " and times" * any(time in clips for time in TIMES)


def _content(clips: Manifest, name: str) -> str:
    values = clips[name].tolist()
    if name in TIMES:
        times = np.array([value for value in values if np.isfinite(value)])
        span = f", {times.min():g} to {times.max():g}" if len(times) else ""
        return f"{len(times)} in seconds{span}"
    counts = Counter(values)
    blank = counts.pop("", 0)
    blanks = f", {blank} blank" * bool(blank)
    if not counts:
        return "blank in every row"
    first = next(value for value in values if value)
    if name in ("id", "path", "text"):
        return f"such as {first[:60]!r}{blanks}" + (_there(clips) if name == "path" else "")
    if len(counts) > max(SHOWN, len(values) // 2):
        return f"{len(counts)} values, such as {first[:40]!r}{blanks}"
    if name not in COLUMNS and len(counts) == len(values) == 1:
        return one_line(first[:60])
    shown = [f"{one_line(value[:40])} {count}" for value, count in counts.most_common(SHOWN)]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "") + blanks


def _there(clips: Manifest) -> str:
    """Return how many of the files are there."""
    places = [i for i, path in enumerate(clips["path"]) if path][:LOOKED_FOR]
    found = {}
    for i in places:
        try:
            found[clips["path"][i]] = clips.file(i).is_file()
        except (InputError, OSError):
            found[clips["path"][i]] = False
    gone = [path for path, there in found.items() if not there]
    first = "the first " * (len(places) == LOOKED_FOR)
    if not gone:
        return f"; {first}{counted(len(found), 'file')} {'is' if len(found) == 1 else 'are'} there"
    if len(gone) == len(found):
        whole = all(path[:1] in ("/", "~") or path[1:2] == ":" for path in gone)
        where = "there" if whole else f"in {folder_name(clips.root)}: set --root to their folder"
        return f"; none of {first}{len(found)} files is {where}"
    return f"; of {first}{len(found)} files {len(gone)} are missing: {listed(gone, 3)}"
