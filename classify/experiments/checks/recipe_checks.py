"""Everything that a run refuses before it embeds or trains, with file and line.

`check_recipe` needs the manifest only, `check_sources` the specs of the encoders too. Neither
imports torch unless a head is a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import PARAMETER, InputError
from ....cache.layers import pick_layers
from ...data.splitting.schemes import splits
from ..members.shares import Share, divisions
from ..recipes.entries import PROBE
from ..recipes.lines import SettingError, in_setting
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
            _check_train(recipe.members[name], share, ready.task)
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
                with entry.naming("layers", where=f"encoder {name!r}: "):
                    pick_layers(layers, spec.n_layers)
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
    from ...heads.registry import heads_for
    from ...models.read_features import check_inputs

    if entry.model:
        return  # `with_models` checked it
    if not entry.head:
        if len(entry.on) > 1:
            raise entry.error("it has no head, so it takes one encoder", "on")
        return
    known = heads_for(ready.task.kind)[0][entry.head]().get_params()
    head = f"the head {entry.head!r}"
    with entry.naming("on"):
        check_inputs(known, head, len(entry.on), mixes=False)
    with entry.naming("combine"):
        check_inputs(known, head, len(entry.on), mixes="mix" in entry.combine)
    if entry.votes:
        _check_voter(entry, ready)
    if entry.random_state + entry.seeds > LARGEST_SEED:
        raise entry.error(
            f"random_state {entry.random_state} with {entry.seeds} seeds; "
            f"expected numbers below {LARGEST_SEED}",
            "random_state" if entry.random_state else "seeds",
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
    with in_setting("votes"):
        task_votes(ready.labelled, ready.task)


def _check_train(entry: MemberEntry, share: Share, task: Task) -> None:
    """Check that train has every dimension, and each label that a weight is given for."""
    from ...heads.targets import class_weights, of_labels

    if not entry.head:
        return
    for part in share.parts:
        where = f"{part.name}: " if part.name else ""
        if task.kind != "labels":
            with entry.naming(where=where):
                task.check_train(part.train)
        ones = np.ones(len(part.train))
        for values in entry.settings.get("class_weight", ()):
            with entry.naming("class_weight", where=where):
                class_weights(values, of_labels(task.targets(part.train)), ones)


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
