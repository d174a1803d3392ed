"""The task for a table's labels: a shipped one, its labels as they are, or its ratings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from ....cache.commands.terminal import HIDDEN
from ....cache.errors import InputError, listed, nearest
from ....cache.manifest.columns import COLUMNS
from ....cache.manifest.described import (
    MOST_LABELS,
    are_numbers,
    rated_columns,
    raters,
    ratings,
)
from ....cache.manifest.tables.cells import ABSENT, DOUBTFUL
from ...data.task import Task
from ...data.vocabulary import any_case, shipped
from ...data.votes import PREFIX, with_votes
from .label_columns import columns_of_labels, emotion_words, emotions_in_names, several_labels
from .rating_columns import task_of_numbers

if TYPE_CHECKING:
    from ....cache.manifest import Manifest

MOST_OF_ALL = 0.75  # of the clips, from which on a label alone gives a high accuracy
FEWEST_CLIPS = 10  # of a label; it cannot be learnt from fewer
RESERVED = ("id", "label")  # names that a label cannot have


@dataclass
class Choice:
    """A task, and how a recipe names it.

    Attributes
    ----------
    name : str
        Of a shipped task; blank where a task file has to be written.
    content : dict
        Of that file.
    about : str
        For the recipe, next to the task.
    drop : int
        How many clips have no label.
    votes : bool or tuple of str
        Whether the labels are columns of raters' votes, or the columns of the raters.
    """

    task: Task
    name: str = ""
    content: dict[str, Any] = field(default_factory=dict)
    about: str = ""
    notes: list[str] = field(default_factory=list)
    drop: int = 0
    votes: bool | tuple[str, ...] = False


def task_for(clips: Manifest) -> Choice:
    """Choose a task for the labels of clips.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> rows = [{"text": "t", "label": label} for label in ("happy", "sad", "joy", "Sad")]
    >>> choice = task_for(Manifest.from_rows(rows))
    >>> choice.content["labels"]
    {'happy': ['joy'], 'sad': ['Sad']}
    """
    counts = Counter(clips["label"])
    blank = counts.pop("", 0)
    rated = ratings(clips)
    if not counts:
        if by := rated_columns(clips):
            return _numeric(clips, by)
        if any(name.startswith(PREFIX) for name in clips.columns):
            return _of_votes(clips)
        if columns := raters(clips):
            return _of_raters(clips, columns)
        has = ", ".join(name for name in clips.columns if name != "id")
        raise InputError(
            f"{clips.source} has no labels; expected a column label (or emotion), or columns of "
            f"numbers such as arousal and valence. It has {has}; {columns_of_labels(clips)}"
        )
    if len(counts) > MOST_LABELS and are_numbers(counts):
        column = (clips.taken.get("label") or ("label",))[0]
        raise InputError(
            f"{clips.source}: column {column} holds {len(counts)} different numbers; if they are "
            "ratings, name the column after what was rated: arousal, valence or dominance"
        )
    choice = _of_labels(clips, counts)
    if blank:
        choice.drop = blank
        choice.notes.append(f"{blank} of {len(clips)} clips have no label and are left out")
    if rated:
        choice.notes.append(
            f"columns {' and '.join(rated.values())} hold ratings: a regression task can be "
            "trained on them, too"
        )
    return choice


def _of_raters(clips: Manifest, columns: tuple[str, ...]) -> Choice:
    """Return a task of the labels that raters wrote, each into a column of their own."""
    counts = Counter(value for name in columns for value in clips[name] if value)
    classes, joined = _classes(counts)
    choice = _voted(clips, {"name": "labels", "labels": _as_written(classes)}, columns)
    choice.notes = [f"{listed(columns)} are taken as raters", *joined, *choice.notes]
    return choice


def _of_votes(clips: Manifest) -> Choice:
    """Return a task of the labels that raters chose."""
    labels = [name.removeprefix(PREFIX) for name in clips.columns if name.startswith(PREFIX)]
    return _voted(clips, {"name": "labels", "labels": labels}, None)


def _voted(clips: Manifest, given: Task | dict, columns: tuple[str, ...] | None) -> Choice:
    task, content = (given, {}) if isinstance(given, Task) else (Task.from_spec(given), given)
    voted = with_votes(clips, columns, task, drop_ties=True)
    found = Counter(label for label in voted["label"] if label)
    notes = ["members learn from all votes; a clip's own label is the most frequent one"]
    if drop := len(clips) - found.total():
        notes.append(
            f"{drop} of {len(clips)} clips have no vote, or several labels that lead, and are left "
            "out; unlabelled: error would take the first of these"
        )
    if absent := [label for label in task.labels if not found[label]]:
        notes.append(
            f"no clip is {listed(absent)} according to most raters, and a label without clips "
            "counts 0 in UAR: move it from labels to leave_out in the task file"
        )
    notes += _rare(found)
    return Choice(task, "", content, _shown(found), notes, drop, votes=columns or True)


def task_text(content: Mapping[str, Any]) -> str:
    """Return the content of a task file as YAML; every label is read back as it was written."""
    return yaml.safe_dump(
        dict(content), allow_unicode=True, sort_keys=False, width=math.inf, default_flow_style=None
    )


def _of_labels(clips: Manifest, counts: Counter[str]) -> Choice:
    if len(counts) == 1:
        [only] = counts
        raise InputError(
            f"{clips.source}: every label is {only!r}; expected at least two different ones"
        )
    if len(counts) > MOST_LABELS:
        raise InputError(
            f"{clips.source} has {len(counts)} different labels; expected at most {MOST_LABELS}: "
            + (
                several_labels(counts)
                or "is label the right column? Say which task is meant: --task NAME or --task "
                "FILE.yaml"
            )
        )
    if _knows("sentiment", clips) and (choice := _of_sentiments(clips)):
        return choice
    absent = {raw: count for raw, count in counts.items() if raw.strip() in ABSENT}
    if len(counts) - len(absent) < 2:
        absent = {}
    classes, joined = _classes(Counter({r: n for r, n in counts.items() if r not in absent}))
    joined += [
        f"{count} clips with the label {raw!r} are left out, because it means that there is no "
        "label; if it is a class, move it from leave_out to labels in the task file"
        for raw, count in absent.items()
    ]
    joined += [
        f"{count} clips have the label {raw!r}; if it means that there is no label, move it from "
        "labels to leave_out in the task file"
        for raw, count in counts.items()
        if raw.strip() in DOUBTFUL
    ]
    if several := several_labels(counts):
        joined.append(several)
    content = {"name": "labels", "labels": _as_written(classes)}
    if absent:
        content["leave_out"] = sorted(absent)
    found = Counter({name: sum(counts[raw] for raw in raws) for name, raws in classes.items()})
    if len(found) == 1:
        raise InputError(
            f"{clips.source}: the labels {listed(sorted(counts))} mean the same; expected at least "
            "two different ones"
        )
    task = Task.from_spec(content)
    return Choice(
        task, "", content, _shown(found), [*joined, *_rare(found), *_nearest_task(clips, counts)]
    )


def _of_sentiments(clips: Manifest) -> Choice | None:
    """Return the task `valence`, or its labels that the clips have: an absent one counts 0."""
    task = Task.named("valence")
    raws: dict[str, set[str]] = {}
    found: Counter[str] = Counter()
    for pair, count in _pairs(clips).items():
        label = str(task.label_of(*pair))
        raws.setdefault(label, set()).add(pair[0])
        found[label] += count
    if len(found) < 2:
        return None
    if len(found) == len(task.labels):
        return Choice(task, "valence", about=_shown(found), notes=_rare(found))
    names = [label for label in task.labels if label in found]
    content = {"name": "labels", "labels": {n: sorted(raws[n] - {n}) for n in names}}
    absent = listed([label for label in task.labels if label not in found])
    note = f"no clip is {absent}, so the task is not valence: a label without clips counts 0 in UAR"
    return Choice(Task.from_spec(content), "", content, _shown(found), [note, *_rare(found)])


def _as_written(classes: Mapping[str, Sequence[str]]) -> Any:
    """Return the labels as a task file has them: a list, or label -> raw labels."""
    labels = {name: [raw for raw in raws if raw != name] for name, raws in classes.items()}
    return labels if any(labels.values()) else list(labels)


def _classes(counts: Counter[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Join labels that differ in spelling, or are one emotion in affekt's vocabulary."""
    words = emotion_words()
    groups: dict[str, list[str]] = {}
    for raw, _ in counts.most_common():
        key = " ".join(raw.split()).casefold()
        groups.setdefault(words.get(key, key), []).append(raw)
    names = {_column_name(raws[0]): raws for raws in groups.values()}
    if len(names) < len(groups):  # a name that was made is that of another label
        names = {f"{_column_name(r[0])} {i}": r for i, r in enumerate(groups.values(), 1)}
    notes = [
        f"labels {listed([repr(raw) for raw in raws])} are taken as one label, {name!r}"
        for name, raws in names.items()
        if len(raws) > 1
    ]
    notes += [
        f"the label {raws[0]!r} is renamed {name!r}, because it cannot be the name of a column"
        for name, raws in names.items()
        if name != raws[0]
    ]
    return dict(sorted(names.items())), notes


def _column_name(raw: str) -> str:
    name = " ".join(HIDDEN.sub(" ", raw).split())
    return f"{name}_" if name in RESERVED or not name else name


def _nearest_task(clips: Manifest, counts: Counter[str]) -> list[str]:
    """Return a note on the shipped task that has the labels, or most of them."""
    best, pairs = (0, 0, ""), _pairs(clips)
    for name in shipped()["tasks"]:
        task = Task.named(name)
        made = {pair: _label(task, *pair) for pair in pairs}
        known = sum(count for pair, count in pairs.items() if made[pair] != "")
        labels = {label for label in made.values() if label}
        if name != "sentiment" and labels and (known, len(labels)) > best[:2]:
            best = (known, len(labels), name)
    name = best[2]
    if are_numbers(counts) and best[0] < sum(pairs.values()):
        return [f"the labels are numbers{_names_of_numbers(clips) or _named(counts)}"]
    if not name:
        small = {(any_case(raw), dataset) for raw, dataset in pairs}
        known = [n for n in shipped()["tasks"] if all(_label(Task.named(n), *p) for p in small)]
        lower = f"; in lower case {listed(known)} would (ignore_case)" if known else ""
        return [f"none of affekt's tasks knows the labels{lower or emotions_in_names(clips)}"]
    task = Task.named(name)
    made = {pair[0]: _label(task, *pair) for pair in pairs}
    left = [raw for raw in counts if made[raw] is None]
    unknown = [raw for raw in counts if made[raw] == ""]
    note = f"the closest task of affekt is {name} ({', '.join(task.labels)})"
    if left:
        note += f"; it leaves out {listed([repr(raw) for raw in left])}"
    for raw in unknown[:5]:
        like = nearest(raw.casefold(), task.map).strip().removeprefix("Did you mean ")
        note += f"; it does not know {raw!r}" + (f" (did you mean {like})" if like else "")
    valence = Task.named("valence")
    more = []
    if not unknown and name != "valence" and all(_label(valence, *p) != "" for p in pairs):
        more = ["task: valence makes negative, neutral and positive of the labels"]
    return [note, *more]


def _names_of_numbers(clips: Manifest) -> str:
    """Return the column that has one name for each label, if there is one."""
    count = len(set(clips["label"]))
    for name in clips.columns:
        values = clips[name]
        if name in COLUMNS or are_numbers(values) or len(set(values)) != count:
            continue
        if len(set(zip(clips["label"], values, strict=True))) == count:
            return f"; column {name} has a name for each: rename it label to read names"
    return ""


def _named(counts: Counter[str]) -> str:
    """Say how numbers get names, and an order."""
    numbers = sorted(counts, key=float)
    low, *_, high = numbers
    places = [f"{one!r}: {float(one):g}" for one in numbers]
    return (
        f": give them names in the task file, such as {{low: [{low!r}], high: [{high!r}]}}, in "
        "which several numbers may be one label. If they are ordered, as stars are, say so there: "
        f"values: {{{', '.join(places[:10])}{', ...' * (len(places) > 10)}}} adds CCC to the "
        "report. If they are ratings, predict them as numbers: type: regression with dimensions: "
        f"{{rating: {{column: label, range: [{low}, {high}]}}}} in place of labels"
    )


def _pairs(clips: Manifest) -> Counter[tuple[str, str]]:
    """Count the clips of each label of each data set."""
    pairs = Counter(zip(clips["label"], clips["dataset"], strict=True))
    return Counter({pair: count for pair, count in pairs.items() if pair[0]})


def _label(task: Task, raw: str, dataset: str) -> str | None:
    """Return the task's label, None where it leaves the label out, blank where it is unknown."""
    try:
        return task.label_of(raw, dataset)
    except InputError:
        return ""


def _knows(name: str, clips: Manifest) -> bool:
    """Whether a task maps every label, and none of them means two things."""
    labelled = clips.select([i for i, label in enumerate(clips["label"]) if label])
    try:
        return all(label is not None for label in Task.named(name).encode(labelled).labels)
    except InputError:
        return False


def _rare(found: Mapping[Any, int]) -> list[str]:
    """Name labels with few clips; one that is nearly another label may be misspelt."""
    often = [str(label) for label, count in found.items() if count >= FEWEST_CLIPS]
    notes, rare = [], []
    for label, count in found.items():
        if count < FEWEST_CLIPS:
            like = nearest(str(label), often) if count < 3 else ""
            if like:
                notes.append(
                    f"the label {label!r} has {count} clip{'s' * (count != 1)} and is a class of "
                    f"its own.{like} Then correct the table: a class without clips in test "
                    "counts 0 in UAR"
                )
            else:
                rare.append(f"{label} ({count})")
    if rare:
        notes.append(f"labels with few clips: {listed(rare)}; little can be said about them")
    most = max(found, key=lambda label: found[label])
    if (share := found[most] / sum(found.values())) >= MOST_OF_ALL:
        notes.append(
            f"{share:.0%} of the clips are {most}: always predicting it gives an accuracy of "
            f"{share:.2f}, so look at UAR"
        )
    return notes


def _shown(found: Counter[Any]) -> str:
    return ", ".join(f"{label} {count}" for label, count in found.most_common())


def _numeric(clips: Manifest, columns: Mapping[str, tuple[str, ...]]) -> Choice:
    """Return a task of the ratings in columns, one or those of several raters by dimension."""
    content, about, unrated, notes = task_of_numbers(clips, columns)
    return Choice(Task.from_spec(content), "", content, f"numbers: {about}", notes, unrated)


def describe_given(task: Task, clips: Manifest) -> Choice:
    """Return the choice of a task that the user named."""
    if task.kind == "labels" and not any(clips["label"]):
        counted = any(name.startswith(PREFIX) for name in clips.columns)
        if counted or raters(clips):
            return _voted(clips, task, None if counted else raters(clips))
    blank = sum(not label for label in clips["label"]) if task.kind == "labels" else 0
    kept, left_out = task.select(clips, blank="drop" if blank < len(clips) else "error")
    found = Counter(task.counts(kept))
    notes = _rare(found) if task.kind == "labels" else []
    if blank:
        notes.append(f"{blank} of {len(clips)} clips have no label and are left out")
    left: Sequence[str] = [f"{raw} ({count})" for raw, count in left_out.items() if raw]
    if left:
        notes.append(f"the task leaves out {listed(left)}")
    return Choice(task, "", {}, _shown(found), notes, blank)
