"""What a recipe of a task of numbers cannot ask for, said with file and line before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...data.task import Task
    from .recipe import Recipe

__all__ = ["check_numeric", "with_ensembles"]

#: keys of `compare` that are of labels
OF_LABELS = (
    *("calibrate", "calibrate_fused", "crossed", "subsets"),
    *("learning_curve", "audit_audio"),
)


def with_ensembles(recipe: Recipe, task: Task) -> Recipe:
    """Return the recipe with the ensembles of a task of numbers, where it names none."""
    from dataclasses import replace

    if task.kind == "labels" or "ensembles" in recipe.at:
        return recipe
    return replace(recipe, ensembles=("mean",))


def check_numeric(recipe: Recipe, task: Task) -> None:
    """Refuse what only labels have: members without a head, most ensembles, calibration.

    Raises
    ------
    InputError
        With file and line.
    """
    from ...ensembles.strategy_names import STRATEGIES

    name = task.name
    for entry in recipe.members.values():
        if not entry.head and not entry.model:
            entry.at.fail(
                f"member {entry.name!r} has no head, so it gives class probabilities, and the "
                f"task {name!r} is of numbers; expected a head: ridge or regression"
            )
    able = [rule for rule, kind in STRATEGIES.items() if kind.of_numbers]
    for item in recipe.at["ensembles"].many() if "ensembles" in recipe.at else ():
        if item.value not in able:
            item.fail(
                f"the ensemble {item.value!r} combines class probabilities, and the task {name!r} "
                f"is of numbers; expected {' or '.join(able)}"
            )
    options = recipe.at.key("compare")
    for key in OF_LABELS:
        if recipe.compare.get(key):
            options.key(key).fail(
                f"compare: {key} is of labels, and the task {name!r} is of numbers; leave it out"
            )
    if recipe.split.get("repeats", 1) > 1:
        recipe.at["split"].key("repeats").fail(
            f"repeats are summarised for labels only, and the task {name!r} is of numbers; use "
            "scheme: group-kfold, which tests every speaker"
        )
