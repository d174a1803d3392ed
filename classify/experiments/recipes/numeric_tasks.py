"""What a recipe of a task of numbers cannot ask for, said with file and line before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lines import SettingError

if TYPE_CHECKING:
    from ...data.task import Task
    from .recipe import Recipe

#: keys of `compare` that are of labels
OF_LABELS = (
    *("calibrate", "calibrate_fused", "crossed", "subsets"),
    *("learning_curve", "audit_audio"),
)


def with_ensembles(recipe: Recipe, task: Task) -> Recipe:
    """Return the recipe with the ensembles of a task of numbers, where it names none."""
    from dataclasses import replace

    if task.kind == "labels" or recipe.gives("ensembles"):
        return recipe
    return replace(recipe, ensembles=("mean",))


def check_numeric(recipe: Recipe, task: Task) -> None:
    """Refuse what only labels have: members without a head, most ensembles, calibration.

    Raises
    ------
    InputError
        With file and line.
    """
    from ...ensembles.fitted_rules import STRATEGIES

    name = task.name
    for entry in recipe.members.values():
        if not entry.head and not entry.model:
            raise entry.error(
                f"it has no head, so it gives class probabilities, and the "
                f"task {name!r} is of numbers; expected a head: ridge or regression"
            )
    able = [rule for rule, kind in STRATEGIES.items() if kind.of_numbers]
    for at, rule in enumerate(recipe.ensembles):
        if rule not in able:
            raise SettingError(
                f"the ensemble {rule!r} combines class probabilities, and the task {name!r} "
                f"is of numbers; expected {' or '.join(able)}",
                *("ensembles", at),
            )
    for key in OF_LABELS:
        if recipe.compare.get(key):
            raise SettingError(
                f"compare: {key} is for labels, and the task {name!r} is of numbers; leave it out",
                *("compare", key),
            )
    if recipe.split.get("repeats", 1) > 1:
        raise SettingError(
            f"repeats are summarised for labels only, and the task {name!r} is of numbers; use "
            "scheme: group-kfold, which tests every speaker",
            *("split", "repeats"),
        )
