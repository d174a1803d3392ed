"""The task file for ratings, of a column for each dimension or of the columns of raters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ....cache.errors import listed
from ....cache.manifest.described import are_numbers, raters_of_numbers
from ....cache.manifest.tables.cells import rated

if TYPE_CHECKING:
    from ....cache.manifest import Manifest


def task_of_numbers(
    clips: Manifest, columns: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, Any], str, int, list[str]]:
    """Return a task file, its ranges in words, how many clips are not rated, and notes.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> rows = [{"text": "t", "valence_R1": one, "valence_R2": "4"} for one in ("3", "5")]
    >>> clips = Manifest.from_rows(rows)
    >>> task_of_numbers(clips, raters_of_numbers(clips))[0]["dimensions"]
    {'valence': {'raters': ['valence_R1', 'valence_R2'], 'range': [3, 5]}}
    """
    dimensions: dict[str, Any] = {}
    cells, notes, others = [], [], raters_of_numbers(clips)
    for name, own in columns.items():
        given = [rated(clips[column].tolist()) for column in own]
        cells += given
        values = [float(value) for one in given for value in one if are_numbers([value])]
        first, *more = own
        of = {"raters": [first, *more]} if more else {"column": first}
        dimensions[name] = {**of, "range": [math.floor(min(values)), math.ceil(max(values))]}
        if more:
            notes.append(f"{listed(own)} are taken as raters: a clip gets the mean of their {name}")
        elif len(by := others.get(name, ())) > 1:
            notes.append(
                f"if {listed(by)} are raters, write raters: [{', '.join(by)}] in place of the "
                f"column of {name} in the task file: the report then says how far they agree"
            )
    alone = {own[0]: name for name, own in columns.items() if len(own) == 1}
    if others_called := {own: name for own, name in alone.items() if own.casefold() != name}:
        are = "are" if len(others_called) > 1 else "is"
        taken = listed([*others_called.values()])
        notes.append(f"{listed([*others_called])} {are} taken for {taken}")
    spans = [(name, *one["range"]) for name, one in dimensions.items()]
    ranges = ", ".join(f"{name} {low} to {high}" for name, low, high in spans)
    notes.append(
        f"the ranges are those of the ratings in the table ({ranges}): if the scale is longer, "
        "correct them in the task file"
    )
    unrated = sum(not any(row) for row in zip(*cells, strict=True))
    if unrated:
        notes.append(f"{unrated} of {len(clips)} clips are not rated and are left out")
    content = {"name": "ratings", "type": "regression", "dimensions": dimensions}
    return content, ranges, unrated, notes
