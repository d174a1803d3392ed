"""The key `split` of a recipe: how the clips are divided."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from ....cache.errors import expected_one_of
from ...data.located_yaml import Located, place
from ...data.splitting.schemes import REPEATABLE, SCHEMES

_SPLIT = {
    **dict.fromkeys(("scheme", "column", "group", "file"), Located.text),
    **dict.fromkeys(("test_size", "dev_size"), partial(Located.number, least=0)),
    **dict.fromkeys(
        ("n_splits", "repeats", "random_state"), partial(Located.number, whole=True, least=0)
    ),
    **dict.fromkeys(("allow_speaker_overlap", "allow_duplicates"), Located.flag),
}
_ONLY_FOR = {
    "column": ("column",),
    "group": ("group-kfold",),
    "n_splits": ("group-kfold",),
    "test_size": ("auto", "stratified", "speaker"),
}
_WITH_FILE = ("file", "random_state", "allow_speaker_overlap", "allow_duplicates")


def split_options(at: Located, folder: Path) -> dict[str, Any]:
    """Read the recipe's `split`: arguments of `affekt.classify.splits`.

    Raises
    ------
    InputError
        An unknown key or scheme, a value of the wrong kind, repeats of what divides in one way, a
        scheme next to a file.
    """
    given = at.read("split", _SPLIT)
    if "file" in at:
        for key in at.value:
            if key not in _WITH_FILE:
                at[key].fail(
                    f"split reads the parts from the file {at['file'].value!r}, so {key} has no "
                    "effect; remove one of the two"
                )
        return {**given, "file": str(place(at["file"], "file of split", folder))}
    split = {"scheme": "auto", **given}
    if split["scheme"] not in SCHEMES:
        at["scheme"].fail(
            f"unknown scheme {split['scheme']!r}; {expected_one_of(split['scheme'], SCHEMES)}"
        )
    for key, schemes in _ONLY_FOR.items():
        if key in at and split["scheme"] not in schemes:
            at[key].fail(
                f"{key} has no effect with the scheme {split['scheme']!r}; it is for "
                f"{', '.join(schemes)}"
            )
    if split.get("repeats", 1) > 1 and split["scheme"] not in REPEATABLE:
        at["repeats"].fail(
            f"the scheme {split['scheme']!r} divides in one way only; repeats are for "
            f"{', '.join(REPEATABLE)}"
        )
    return split
