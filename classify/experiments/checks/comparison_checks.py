"""Checks of the comparison that a recipe describes, before any work."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from ....cache.errors import expected_one_of, nearest
from ...evaluation.compare_options import check_crossed
from ..recipes.lines import SettingError, in_setting

if TYPE_CHECKING:
    from ...data.task import Task
    from ..members.shares import Division
    from ..recipes.prepared import Prepared
    from ..recipes.recipe import Recipe

LABELS = ("label", "raw_label")
CALIBRATES = ("calibrate", "calibrate_fused")
#: keys of `compare` for classification tasks only
OF_LABELS = (
    *("calibrate", "calibrate_fused", "crossed", "subsets"),
    *("learning_curve", "audit_audio"),
)


def check_comparison(ready: Prepared) -> None:
    """Check ensembles, options and columns of the comparison that a recipe describes.

    Raises
    ------
    InputError
        With file and line.
    """
    from ...ensembles.asked import asked
    from ...ensembles.calibration import CALIBRATORS
    from ...ensembles.subsets import check_size

    recipe, options = ready.recipe, ready.recipe.compare
    for at in range(len(recipe.ensembles)):
        with in_setting("ensembles", at):
            asked(recipe.ensembles[: at + 1], recipe.members)
    if ready.task.kind != "labels":
        _check_numeric(recipe, ready.task)
    for key in CALIBRATES:
        if key in options and (name := options[key]) not in CALIBRATORS:
            message = f"{key} is {name!r}; {expected_one_of(name, CALIBRATORS)}"
            raise SettingError(message, "compare", key)
    curve = options.get("learning_curve", True)
    if isinstance(curve, str):
        trained = [name for name, entry in recipe.members.items() if entry.head]
        if curve not in trained:
            raise SettingError(
                f"learning_curve of {curve!r}; expected one of {', '.join(trained) or 'no member'} "
                f"(members that are trained).{nearest(curve, trained)}",
                *("compare", "learning_curve"),
            )
    if options.get("subsets"):
        with in_setting("compare", "subsets"):
            check_size(recipe.members)
    if recipe.transfer:
        _check_transfer(ready)
    _check_columns(ready)


def _check_numeric(recipe: Recipe, task: Task) -> None:
    """Refuse what needs labels: members without a head, most ensembles, calibration."""
    from ...ensembles.asked import asked, not_of_numbers

    name = task.name
    for entry in recipe.members.values():
        if not entry.head and not entry.model:
            raise entry.error(
                "it has no head, so it gives class probabilities, and the "
                f"task {name!r} is a regression task; expected a head: ridge or regression"
            )
    for at, one in enumerate(asked(recipe.ensembles, recipe.members)):
        if why := not_of_numbers(one, name):
            raise SettingError(why, "ensembles", at)
    for key in OF_LABELS:
        if recipe.compare.get(key):
            raise SettingError(
                f"compare: {key} is for labels, and the task {name!r} is a regression task; "
                "leave it out",
                *("compare", key),
            )
    if recipe.split.get("repeats", 1) > 1:
        raise SettingError(
            f"repeats are summarised for labels only, and the task {name!r} is a regression task; "
            "use scheme: group-kfold, which tests every speaker",
            *("split", "repeats"),
        )


def _check_transfer(ready: Prepared) -> None:
    from ...evaluation.analyses.transfer import check_transfer

    recipe = ready.recipe
    with in_setting("transfer"):
        check_transfer(ready.labelled, ready.task, recipe.transfer["by"])
    trained = [name for name, entry in recipe.members.items() if entry.head]
    name = recipe.transfer.get("member", "")
    if not trained or (name and name not in trained):
        raise SettingError(
            f"transfer of the member {name!r}; expected one that is trained: "
            f"{', '.join(trained) or 'there is none'}.{nearest(name, trained)}",
            "transfer",
        )


def _check_columns(ready: Prepared) -> None:
    """Check the columns whose values are resampled or tabled."""
    recipe, clips = ready.recipe, ready.labelled
    columns: list[tuple[tuple[str, ...], str]] = []
    if recipe.gives("group") or recipe.group in clips:  # without speakers it is clips
        columns.append((("group",), recipe.group))
    if "crossed" in recipe.compare:
        columns.append((("compare", "crossed"), recipe.compare["crossed"]))
        with in_setting("compare", "crossed"):
            check_crossed(recipe.compare["crossed"], recipe.group)
    for column in recipe.compare.get("by", ()):
        columns.append((("compare", "by"), column))
    if recipe.split.get("scheme") == "group-kfold" and "group" in recipe.split:
        columns.append((("split", "group"), recipe.split["group"]))
    for keys, column in columns:
        word = keys[-1]
        if column not in clips:
            others = [name for name in clips.columns if name not in LABELS]
            raise SettingError(
                f"{word}: no column {column!r} in {clips.source}; "
                f"{expected_one_of(column, others)}",
                *keys,
            )
        asked = word == "group" and recipe.gives(*keys)
        if column in LABELS or (asked and _is_label(ready, column)):
            raise SettingError(
                f"{word} is {column!r}, which is the label; expected a column such as speaker",
                *keys,
            )


def _is_label(ready: Prepared, column: str) -> bool:
    """Whether a column divides the clips exactly as the labels do, under whatever name."""
    values = [str(value) for value in ready.labelled[column]]
    return any(
        1 < len(set(values)) == len(set(labels)) == len(set(zip(values, labels, strict=True)))
        and len(set(values)) < len(values)
        for labels in ([str(value) for value in ready.labelled[label]] for label in LABELS)
    )


def check_dev_of_all(recipe: Recipe, division: Division) -> None:
    """Check that there is a dev for what learns on it: the same clips of every member."""
    from ...ensembles.asked import asked

    ensembles = asked(recipe.ensembles, recipe.members)
    needs: dict[str, tuple[str, ...]] = {
        one.name: ("ensembles",) for one in ensembles if one.rule.learns
    }
    for key in CALIBRATES:
        if key in recipe.compare:
            needs[f"{key}: {recipe.compare[key]}"] = ("compare", key)
    if recipe.compare.get("subsets"):
        needs["subsets"] = ("compare", "subsets")
    if not needs or len(recipe.members) == 1:
        return
    lack, shares = "", division.shares
    lacking = [name for name, share in shares.items() if not share.has_dev]
    if lacking:
        what = "no dev clips"
        if len(division.folds) > 1:
            what = "no dev clips in each fold, or the same in several (then use a smaller dev_size)"
        lack = f"{', '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} {what}"
    elif not reduce(
        set.intersection,
        ({clip for part in share.parts for clip in part.dev.ids} for share in shares.values()),
    ):
        lack = "no dev clip has what every member needs"
    if lack:
        raise SettingError(
            f"{', '.join(needs)} {'is' if len(needs) == 1 else 'are'} fitted on dev, and {lack}; "
            "expected a dev_size above 0, "
            "or a split column that names dev",
            *next(iter(needs.values())),
        )
