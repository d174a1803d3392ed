"""Everything that a run refuses before it embeds or trains, with file and line.

`check_recipe` needs the manifest only, `check_sources` the specs of the encoders too. Neither
imports torch unless a head is a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ....cache.errors import PARAMETER, InputError, nearest
from ....cache.layers import pick_layers
from ...data.splitting.schemes import splits
from ..members.shares import Share, divisions
from ..recipes.entries import PROBE
from ..recipes.lines import SettingError
from .comparison_checks import check_comparison, check_dev_of_all
from .folder_checks import check_places

if TYPE_CHECKING:
    from ...data.splitting.split import Split
    from ...data.task import Task
    from ..recipes.entries import MemberEntry
    from ..recipes.prepared import Prepared

LARGEST_SEED = 2**32


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
    check_comparison(ready)
    found = divide(ready)
    for division in divisions(recipe, found, _sides(ready)):
        for name, share in division.shares.items():
            _check_weighted_labels(recipe.members[name], share)
            _check_rated(recipe.members[name], share, ready.task)
        check_dev_of_all(recipe, division)
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
                    continue
                try:
                    pick_layers(layers, spec.n_layers)
                except InputError as error:
                    message = f"encoder {name!r}: {error}"
                    raise entry.error(message, "layers") from None
        if not entry.head and not entry.model:
            labels = specs[0].labels
            if not labels:
                raise entry.error(
                    f"it has no head, and {entry.on[0]!r} is not a classifier; "
                    "name a head, or set classifier: true for the encoder"
                )
            check_classes(entry, labels, ready.task)


def divide(ready: Prepared) -> list[Split]:
    """Return the splits that the recipe asks for; one recording on two sides is an error.

    Parameters
    ----------
    ready : Prepared
        The content of recordings is compared where it is known.

    Raises
    ------
    InputError
        The clips cannot be divided so; with file and line.
    """
    recipe = ready.recipe
    trained = [bool(entry.head) for entry in recipe.members.values()]  # or given: who knows on what
    reads_texts = any(one.spec.modality == "text" for one in ready.sources.values())
    try:
        return splits(
            ready.labelled,
            needs_train=any(trained),
            digests=ready.recordings,
            reads_texts=reads_texts or not all(trained),
            **recipe.split,
        )
    except InputError as error:
        message = str(error)
    keys = [key for key, _ in PARAMETER.findall(message) if recipe.gives("split", key)]
    raise SettingError(message, "split", *keys[:1] or ["scheme"])


def _check_member(entry: MemberEntry, ready: Prepared) -> None:
    if entry.model:
        return  # `with_models` checked it
    if not entry.head:
        if len(entry.on) > 1:
            raise entry.error("it has no head, so it takes one encoder", "on")
        return
    _check_inputs(entry, ready.task)
    if entry.votes:
        _check_voter(entry, ready)
    if entry.random_state + entry.seeds > LARGEST_SEED:
        raise entry.error(
            f"random_state {entry.random_state} with {entry.seeds} seeds; "
            f"expected numbers below {LARGEST_SEED}",
            "random_state" if entry.random_state else "seeds",
        )
    for values in entry.settings.get("class_weight", ()):
        if isinstance(values, dict):
            _check_class_weight(entry, values, ready)
        elif values not in (None, "balanced"):
            raise entry.error(
                f"class_weight is {values!r}; expected balanced, null, or "
                f"weights by label.{nearest(str(values), ['balanced'])}",
                "class_weight",
            )
    if isinstance(entry.scale, str):
        blank = sum(not str(value) for value in ready.labelled[entry.scale])
        if blank:
            raise entry.error(
                f"it scales within each {entry.scale}, and {blank} of {len(ready.labelled)} clips "
                f"have none; fill the column {entry.scale}",
                "scale",
            )


def _check_voter(entry: MemberEntry, ready: Prepared) -> None:
    """Check that every clip has votes, and that the head learns from distributions."""
    from inspect import signature

    from ...data.votes import task_votes
    from ...heads import HEADS

    if "classes" not in signature(HEADS[entry.head].fit).parameters:
        raise entry.error(
            f"the head {entry.head!r} cannot learn from votes, because its fit has no argument "
            "'classes'; expected votes: false in this member",
            "head",
        )
    try:
        task_votes(ready.labelled, ready.task)
    except InputError as error:
        raise SettingError(str(error), "votes") from None


def _check_inputs(entry: MemberEntry, task: Task) -> None:
    """Check that the head takes this many encoders and layers."""
    from ...heads.registry import heads_for

    known = heads_for(task.kind)[0][entry.head]().get_params()
    fuses = "widths" in known
    if fuses and len(entry.on) != 2:
        raise entry.error(
            f"the head {entry.head!r} takes two encoders; got {len(entry.on)}",
            "on",
        )
    if "mix" in entry.combine:
        if "layer_mix" not in known:
            raise entry.error(
                f"the head {entry.head!r} cannot mix layers; use combine: mean or concat",
                "combine",
            )
        if len(entry.on) > 1 and not fuses:
            raise entry.error(
                "only a fusion head (concat, mean, cross-attention) mixes "
                "the layers of two encoders",
                "combine",
            )


def _check_class_weight(entry: MemberEntry, values: Mapping[str, Any], ready: Prepared) -> None:
    labels, key = ready.task.labels, "class_weight"
    for label, weight in values.items():
        if label not in labels:
            raise entry.error(
                f"class_weight names {label!r}; expected labels of the "
                f"task, {', '.join(labels)}.{nearest(str(label), labels)}",
                key,
            )
        known = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not known or not 0 <= weight < float("inf"):
            raise entry.error(
                f"class_weight of {label!r} is {weight!r}; expected a number of at least 0",
                key,
            )
    if not any(values.get(label, 1) for label in labels):
        raise entry.error("class_weight is 0 for every label", key)


def _check_rated(entry: MemberEntry, share: Share, task: Task) -> None:
    """Raise if a member would have to learn a dimension that no clip of train is rated for."""
    if not entry.head or task.kind == "labels":
        return
    for part in share.parts:
        try:
            task.check_train(part.train)
        except InputError as error:
            where = f"{part.name}: " if part.name else ""
            raise entry.error(f"{where}{error}") from None


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
            raise entry.error(
                f"class_weight names {', '.join(map(repr, lacking))}, of "
                f"which train{where} has no clip",
                "class_weight",
            )


def check_classes(entry: MemberEntry, labels: Sequence[Any], task: Task) -> None:
    """Raise unless the task knows the classes of an encoder that is a classifier."""
    try:
        mapped = [task.label_of(str(label)) for label in labels]
    except InputError as error:
        raise entry.error(
            f"{error} Map the classes of {entry.on[0]!r} in a task file, such as "
            f"synonyms: {{{task.labels[0]}: [{labels[0]}]}}"
        ) from None
    if not any(mapped):
        raise entry.error(
            f"the task {task.name!r} leaves out every label of {entry.on[0]!r} "
            f"({', '.join(map(str, labels))})"
        )


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
