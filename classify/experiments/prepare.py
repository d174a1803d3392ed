"""What a run reads before it works: manifest, task, cache, and the spec of every encoder.

Nothing here decodes, embeds or trains. An encoder is opened only where its spec is not known from
the cache: opening a pretrained one imports torch.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...cache.cache import Cache
from ...cache.errors import InputError, nearest
from ...cache.identity.spec import Spec
from ...cache.manifest import Manifest
from ...cache.manifest.selection import allowed_values
from ..data.task import Task
from .known_encoders import Opened, recall
from .members.given_models import with_models
from .recipes.entries import EncoderEntry
from .recipes.lines import SettingError, with_note
from .recipes.prepared import Prepared, Source
from .recipes.recipe import Recipe


def prepare(recipe: Recipe) -> Prepared:
    """Read what a recipe names, and check it.

    Raises
    ------
    InputError
        Anything wrong with manifest, task, encoders or split; with file and line.
    """
    with with_note(recipe.at, "task"):
        task = Task.of(recipe.task)
    clips = _clips(recipe)
    if recipe.votes:
        with with_note(recipe.at, "votes"):
            clips = _voted(clips, recipe, task)
    with with_note(recipe.at, "manifest"):
        labelled, left_out = task.select(clips, blank=recipe.unlabelled)
    if task.kind != "labels" and not recipe.gives("ensembles"):
        recipe = replace(recipe, ensembles=("mean",))  # the others are of labels
    recipe = with_models(recipe, task)
    ready = Prepared(recipe, task, clips, labelled, left_out, Cache(recipe.cache), {})
    used = dict.fromkeys(name for member in recipe.members.values() for name in member.on)
    entries = [recipe.encoders[name] for name in recipe.encoders if name in used]
    known = {entry.name: _known(entry, ready) for entry in entries}
    ready.sources.update({name: source for name, source in known.items() if source})
    if not all(known.values()):
        from .checks.recipe_checks import check_recipe

        check_recipe(ready)  # before an encoder is opened
    for entry in entries:
        source = known[entry.name] or open_source(entry, ready)
        if not len(source.clips):
            what = "path" if source.spec.modality == "audio" else "text"
            raise entry.error(
                f"encoder {entry.name!r} needs {source.spec.modality}, and every {what} of "
                f"{clips.source} is blank"
            )
        ready.sources[entry.name] = source
    return ready


def _voted(clips: Manifest, recipe: Recipe, task: Task) -> Manifest:
    from ..data.votes import with_votes

    if task.kind != "labels":
        raise InputError(f"votes are for labels, and the task {task.name!r} is a regression task")
    source = None if isinstance(recipe.votes, bool) else recipe.votes
    return with_votes(clips, source, task, drop_ties=recipe.unlabelled == "drop")


def _clips(recipe: Recipe) -> Manifest:
    with with_note(recipe.at, "manifest"):
        clips = Manifest.read(recipe.manifest, root=recipe.root)
    for column, values in recipe.where.items():
        with with_note(recipe.at, "where", column):
            present = sorted({str(value) for value in clips.column(column)})
        for value in values:
            if allowed_values(column, value).isdisjoint(present):
                raise SettingError(
                    f"no clip has {column} {value!r}; expected one of {', '.join(present[:20])}."
                    f"{nearest(value, present)}",
                    *("where", column),
                )
        clips = clips.where(**{column: values})
    if not len(clips):
        raise SettingError("no clip fits every condition", "where")
    return clips


def _known(entry: EncoderEntry, ready: Prepared) -> Source | None:
    """Return the source of an encoder that need not be opened, or costs nothing to open."""
    from ...extract.encoder_names import is_code

    if entry.spec is not None:
        return _source(entry, ready, entry.spec)
    if "space" in entry.options:
        with with_note(ready.recipe.at, *entry.keys):
            spec = ready.cache.space(entry.options["space"]).spec
        note = ""
        if "compute" not in spec.fields and not is_code(spec.fields["encoder"]["name"]):
            note = (
                f"{entry.name}: the space {entry.options['space']} was not made by an affekt "
                "encoder; its members are compared, but cannot predict new clips"
            )
        return _source(entry, ready, spec, note=note)
    if is_code(entry.options["name"]):
        return open_source(entry, ready)
    before = recall(ready.cache, entry.arguments)
    if before is None:
        return None
    spec = before.spec.with_store_dtype(entry.store_dtype)
    if before.is_current:
        return _source(entry, ready, spec)
    return _changed(entry, spec, before, ready) if ready.cache.find(spec) else None


def _changed(entry: EncoderEntry, spec: Spec, before: Opened, ready: Prepared) -> Source:
    """Open an encoder that changed; take its stored rows where it cannot be opened any more."""
    name = entry.options["name"]
    stored = f"its stored rows are used ({spec.name})"
    if before.is_gone:
        note = f"{entry.name}: the folder {name} does not exist; {stored}"
        return _source(entry, ready, spec, note=note)
    try:
        return open_source(entry, ready)
    except InputError as error:
        note = f"{entry.name}: {name} cannot be opened: {error}; {stored}"
        return _source(entry, ready, spec, note=note)


def open_source(entry: EncoderEntry, ready: Prepared) -> Source:
    """Open an encoder of the recipe, or one that a given model reads.

    Raises
    ------
    InputError
        No such encoder (any more), or an option that it does not have; with file and line.
    """
    from ...extract.encoder import Encoder

    with with_note(ready.recipe.at, *entry.keys):
        if entry.spec is not None:
            return _source(entry, ready, entry.spec, _of_a_model(entry, entry.spec, ready))
        try:
            encoder = Encoder(**entry.arguments)
        except InputError as error:
            for space in ready.cache.spaces():
                if space.name.startswith(f"{entry.options['name']}-"):
                    error.add_note(f"the cache has this space: write {{space: {space.name}}}")
            raise
        encoder.title = entry.name if encoder.folder is not None else None
        return _source(entry, ready, encoder.spec.with_store_dtype(entry.store_dtype), encoder)


def _of_a_model(entry: EncoderEntry, spec: Spec, ready: Prepared) -> Any:
    """Open what a given model reads: a folder of the recipe, the one that it noted, or the Hub."""
    from ..models.new_clips.own_encoders import find_encoder

    named = [one.options.get("name") for one in ready.recipe.encoders.values()]
    folders = [name for name in named if name and Path(name).is_dir()]
    return find_encoder(spec.with_store_dtype("float32"), folders, noted=entry.folder)


def _source(
    entry: EncoderEntry, ready: Prepared, spec: Spec, encoder: Any = None, note: str = ""
) -> Source:
    column = "path" if spec.modality == "audio" else "text"
    # nothing can be added to a space, so clips that the task leaves out need no row there
    clips = ready.clips.select(ready.labelled.ids) if "space" in entry.options else ready.clips
    there = np.array([bool(value) for value in clips[column]], dtype=bool)
    return Source(entry, spec, encoder, clips.select(there), note)
