"""Everything that a run refuses before it embeds or trains, with file and line.

`check_recipe` needs the manifest only, `check_sources` the specs of the encoders too. Neither
imports torch unless a head is a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

from ....cache.errors import InputError, expected_one_of, nearest
from ....cache.features import pick_layers
from ...data.splitting.schemes import splits
from ..members.shares import Share, divisions, share_out
from ..recipes.entries import PROBE
from ..recipes.numeric_tasks import check_numeric
from .folder_checks import check_places

if TYPE_CHECKING:
    from ...data.splitting.split import Split
    from ...data.task import Task
    from ..recipes.recipe import MemberEntry, Recipe
    from ..run_inputs import Prepared

__all__ = ["check_recipe", "check_sources", "divide"]

LABELS = ("label", "raw_label")
LARGEST_SEED = 2**32
# what a head is needed for
NETWORKS = ("layers", "combine", "scale", "seeds", "random_state", "refit")


def check_recipe(ready: Prepared) -> list[Split]:
    """Check what the recipe and the manifest can show: no encoder is needed.

    Parameters
    ----------
    ready : Prepared
        Its sources are not looked at.

    Returns
    -------
    list of Split
        As `divide` gives them.

    Raises
    ------
    InputError
        With file and line.
    """
    from ..members.member_folder import check_head

    recipe = ready.recipe
    check_places(ready)
    for entry in recipe.members.values():
        check_head(entry, ready.task)
        _check_member(entry, ready)
    _check_strategies(recipe)
    if recipe.transfer:
        _check_transfer(ready)
    if ready.task.kind != "labels":
        check_numeric(ready.recipe, ready.task)
    _check_columns(ready)
    found = divide(ready)
    sides = _sides(ready)
    for own in divisions(recipe, found).values():
        shares = share_out(recipe, own, sides)
        for name, share in shares.items():
            _check_weighted_labels(recipe.members[name], share)
        _check_compare(ready, shares, own)
    return found


def check_sources(ready: Prepared) -> None:
    """Check layers, and classifiers without a head, against the specs of the encoders.

    Raises
    ------
    InputError
        With file and line.
    """
    for entry in ready.recipe.members.values():
        specs = [ready.sources[name].spec for name in entry.on]
        for name, spec in zip(entry.on, specs, strict=True):
            for layers in entry.layers[name]:
                if layers == PROBE:
                    if ready.task.kind != "labels":
                        entry.at.key("layers").fail(
                            f"member {entry.name!r}: layers: probe needs a task of labels; expected"
                            " layers by number"
                        )
                    continue
                try:
                    pick_layers(layers, spec.n_layers)
                except InputError as error:
                    entry.at.key("layers").fail(f"member {entry.name!r} on {name!r}: {error}")
        if not entry.head and not entry.model:
            labels = specs[0].labels
            if not labels:
                entry.at.fail(
                    f"member {entry.name!r} has no head, and {entry.on[0]!r} is not a classifier; "
                    "say which head, or classifier: true of the encoder"
                )
            _check_labels(entry, labels, ready.task)


def divide(ready: Prepared, digests: Mapping[str, str | None] | None = None) -> list[Split]:
    """Return the splits that the recipe asks for.

    Parameters
    ----------
    ready : Prepared
    digests : mapping of str to str, optional
        Content of each recording, where it is known: one on two sides is an error.

    Raises
    ------
    InputError
        The clips cannot be divided so; with file and line.
    """
    recipe = ready.recipe
    trains = any(entry.head for entry in recipe.members.values())
    try:
        return splits(ready.labelled, digests=digests, needs_train=trains, **recipe.split)
    except InputError as error:
        at, message = recipe.at.key("split"), str(error)
    keys = at.value if at is not recipe.at else {}
    raise next((one for key, one in keys.items() if key in message), at).error(message)


def _check_member(entry: MemberEntry, ready: Prepared) -> None:
    keys = entry.at.value
    if entry.model:
        return  # `with_models` checked it
    if not entry.head:
        if extra := [key for key in keys if key in NETWORKS or key in entry.settings]:
            keys[extra[0]].fail(
                f"member {entry.name!r} has no head, so {extra[0]} says nothing; leave it out, or "
                "say which head"
            )
        if len(entry.on) > 1:
            keys["on"].fail(f"member {entry.name!r} has no head, so it takes one encoder")
        return
    _check_inputs(entry, ready.task)
    if entry.votes:
        _check_voter(entry, ready)
    if entry.random_state + entry.seeds > LARGEST_SEED:
        at = keys["random_state"] if "random_state" in keys else keys["seeds"]
        at.fail(
            f"member {entry.name!r}: random_state {entry.random_state} with {entry.seeds} seeds; "
            f"expected numbers below {LARGEST_SEED}"
        )
    for values in entry.settings.get("class_weight", ()):
        if isinstance(values, dict):
            _check_class_weight(entry, values, ready)
        elif values not in (None, "balanced"):
            keys["class_weight"].fail(
                f"member {entry.name!r}: class_weight is {values!r}; expected balanced, null, or "
                f"weights by label.{nearest(str(values), ['balanced'])}"
            )
    if isinstance(entry.scale, str):
        blank = sum(not str(value) for value in ready.labelled[entry.scale])
        if blank:
            keys["scale"].fail(
                f"member {entry.name!r} scales within each {entry.scale}, and {blank} of "
                f"{len(ready.labelled)} clips have none; fill the column {entry.scale}"
            )


def _check_voter(entry: MemberEntry, ready: Prepared) -> None:
    """Check that every clip has votes, and that the head learns from distributions."""
    from inspect import signature

    from ...data.votes import task_votes
    from ...heads import HEADS

    if "classes" not in signature(HEADS[entry.head].fit).parameters:
        entry.at.value["head"].fail(
            f"member {entry.name!r}: the head {entry.head!r} does not learn from votes, since its "
            "fit has no argument 'classes'; expected votes: false in this member"
        )
    try:
        task_votes(ready.labelled, ready.task)
    except InputError as error:
        ready.recipe.at["votes"].fail(str(error))


def _check_inputs(entry: MemberEntry, task: Task) -> None:
    """Check that the head takes so many encoders and layers."""
    from ...heads.registry import heads_for

    known = heads_for(task.kind)[0][entry.head]().get_params()
    fuses = "widths" in known
    if fuses and len(entry.on) != 2:
        entry.at.value["on"].fail(
            f"member {entry.name!r}: the head {entry.head!r} takes two encoders; "
            f"got {len(entry.on)}"
        )
    if "mix" in entry.combine:
        at = entry.at.value["combine"]
        if "layer_mix" not in known:
            at.fail(
                f"member {entry.name!r}: the head {entry.head!r} cannot mix layers; "
                "use combine: mean or concat"
            )
        if len(entry.on) > 1 and not fuses:
            at.fail(
                f"member {entry.name!r}: only a fusion head (concat, mean, cross-attention) mixes "
                "the layers of two encoders"
            )


def _check_class_weight(entry: MemberEntry, values: Mapping[str, Any], ready: Prepared) -> None:
    at, labels = entry.at.value["class_weight"], ready.task.labels
    for label, weight in values.items():
        if label not in labels:
            at.fail(
                f"member {entry.name!r}: class_weight names {label!r}; expected labels of the "
                f"task, {', '.join(labels)}.{nearest(str(label), labels)}"
            )
        known = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not known or not 0 <= weight < float("inf"):
            at.fail(
                f"member {entry.name!r}: class_weight of {label!r} is {weight!r}; expected a "
                "number from 0 up"
            )
    if not any(values.get(label, 1) for label in labels):
        at.fail(f"member {entry.name!r}: class_weight is 0 for every label")


def _check_weighted_labels(entry: MemberEntry, share: Share) -> None:
    """Check that train has each label that a weight is given for, in every fold."""
    weighted = {
        label
        for values in entry.settings.get("class_weight", ())
        if isinstance(values, dict)
        for label in values
    }
    for part in share.parts:
        if lacking := sorted(weighted - set(part.train["label"])):
            where = f" of {part.name}" if part.name else ""
            entry.at.value["class_weight"].fail(
                f"member {entry.name!r}: class_weight names {', '.join(map(repr, lacking))}, of "
                f"which train{where} has no clip"
            )


def _check_labels(entry: MemberEntry, labels: Sequence[Any], task: Task) -> None:
    try:
        mapped = [task.label_of(str(label)) for label in labels]
    except InputError as error:
        entry.at.fail(f"member {entry.name!r}: {error}")
    if not any(mapped):
        entry.at.fail(
            f"member {entry.name!r}: the task {task.name!r} leaves out every label of "
            f"{entry.on[0]!r} ({', '.join(map(str, labels))})"
        )


def _check_strategies(recipe: Recipe) -> None:
    from ...ensembles.strategy_names import STRATEGIES

    if "ensembles" in recipe.at:
        for item in recipe.at["ensembles"].many():
            if item.value not in STRATEGIES:
                expected = expected_one_of(item.value, STRATEGIES)
                item.fail(f"unknown ensemble {item.value!r}; {expected}")


def _check_transfer(ready: Prepared) -> None:
    from ...evaluation.analyses.transfer import check_transfer

    recipe, at = ready.recipe, ready.recipe.at["transfer"]
    try:
        check_transfer(ready.labelled, recipe.transfer["by"])
    except InputError as error:
        at.fail(str(error))
    trained = [name for name, entry in recipe.members.items() if entry.head]
    name = recipe.transfer.get("member", "")
    if not trained or (name and name not in trained):
        at.fail(
            f"transfer of the member {name!r}; expected one that is trained: "
            f"{', '.join(trained) or 'there is none'}.{nearest(name, trained)}"
        )


def _check_columns(ready: Prepared) -> None:
    """Check the columns whose values are resampled or tabled."""
    recipe, clips = ready.recipe, ready.labelled
    columns = [("group", recipe.at.key("group"), recipe.group)]
    options = recipe.at.key("compare")
    if "crossed" in recipe.compare:
        columns.append(("crossed", options.key("crossed"), recipe.compare["crossed"]))
    for column in recipe.compare.get("by", ()):
        columns.append(("by", options.key("by"), column))
    if recipe.split.get("scheme") == "group-kfold" and "group" in recipe.split:
        columns.append(("group", recipe.at["split"].key("group"), recipe.split["group"]))
    for word, at, column in columns:
        if column not in clips:
            at.fail(
                f"{word}: no column {column!r} in {clips.source}; "
                f"{expected_one_of(column, clips.columns)}"
            )
        asked = word == "group" and isinstance(at.value, str)
        if column in LABELS or (asked and _is_label(ready, column)):
            at.fail(f"{word} is {column!r}, which is the label; expected a column such as speaker")


def _is_label(ready: Prepared, column: str) -> bool:
    """Whether a column divides the clips exactly as the labels do, under whatever name."""
    values = [str(value) for value in ready.labelled[column]]
    return any(
        1 < len(set(values)) == len(set(labels)) == len(set(zip(values, labels, strict=True)))
        and len(set(values)) < len(values)
        for labels in ([str(value) for value in ready.labelled[label]] for label in LABELS)
    )


def _check_compare(ready: Prepared, shares: Mapping[str, Share], found: Sequence[Split]) -> None:
    """Check what learns on dev, and the options of the comparison, on one division."""
    from ...ensembles.calibration import CALIBRATORS
    from ...ensembles.strategy_names import STRATEGIES
    from ...ensembles.subsets import MOST_MEMBERS

    recipe, options = ready.recipe, ready.recipe.compare
    at = recipe.at.key("compare")
    calibrate = {key: options[key] for key in ("calibrate", "calibrate_fused") if key in options}
    for key, name in calibrate.items():
        if name not in CALIBRATORS:
            at.key(key).fail(f"{key} is {name!r}; {expected_one_of(name, CALIBRATORS)}")
    curve = options.get("learning_curve", True)
    if isinstance(curve, str):
        trained = [name for name, entry in recipe.members.items() if entry.head]
        if curve not in trained:
            at.key("learning_curve").fail(
                f"learning_curve of {curve!r}; expected one of {', '.join(trained) or 'no member'} "
                f"(members that are trained).{nearest(curve, trained)}"
            )
    if options.get("subsets") and len(recipe.members) > MOST_MEMBERS:
        at.key("subsets").fail(
            f"{len(recipe.members)} members have 2^{len(recipe.members)} subsets; expected at most "
            f"{MOST_MEMBERS} members. Use the ensemble 'greedy'"
        )
    ensembles = recipe.at.key("ensembles")
    needs = {name: ensembles for name in recipe.ensembles if STRATEGIES[name].learns}
    needs |= {f"{key}: {name}": at.key(key) for key, name in calibrate.items()}
    needs |= {"subsets": at.key("subsets")} if options.get("subsets") else {}
    if needs and len(recipe.members) > 1 and (lack := _without_dev(shares, found)):
        first = next(iter(needs.values()))
        first.fail(
            f"{', '.join(needs)} learns on dev, and {lack}; expected a dev_size above 0, "
            "or a split column that names dev"
        )


def _without_dev(shares: Mapping[str, Share], found: Sequence[Split]) -> str:
    """Say why members cannot be compared on dev; blank if they can."""
    lacking = [name for name, share in shares.items() if not share.has_dev]
    if lacking:
        each = " in each fold" if len(found) > 1 else ""
        return f"{', '.join(lacking)} has no dev clips{each}"
    dev = [{clip for part in share.parts for clip in part.dev.ids} for share in shares.values()]
    return "" if reduce(set.intersection, dev) else "no dev clip has what every member needs"


def _sides(ready: Prepared) -> dict[str, frozenset[str]]:
    """Return, by encoder, the clips that may have a row: with a path, or with a text.

    An encoder whose modality is not known yet may take either.
    """
    clips = ready.labelled
    filled = {
        "audio": frozenset(i for i, v in zip(clips.ids, clips["path"], strict=True) if v),
        "text": frozenset(
            i for i, v in zip(clips.ids, clips["text"], strict=True) if str(v).strip()
        ),
    }
    either = filled["audio"] | filled["text"]
    sides = {}
    for name, entry in ready.recipe.encoders.items():
        source = ready.sources.get(name)
        spec = source.spec if source else entry.spec
        modality = spec.modality if spec else entry.options.get("modality")
        sides[name] = filled.get(str(modality), either)
    return sides
