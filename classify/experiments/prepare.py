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
from ..data.task import Task
from .known_encoders import Opened, recall
from .members.given_models import with_models
from .prepared import Prepared, Source
from .recipes.entries import EncoderEntry
from .recipes.lines import SettingError, with_note
from .recipes.numeric_tasks import with_ensembles
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
    recipe = with_models(with_ensembles(recipe, task), task)
    ready = Prepared(recipe, task, clips, labelled, left_out, Cache(recipe.cache), {})
    used = dict.fromkeys(name for member in recipe.members.values() for name in member.on)
    entries = [recipe.encoders[name] for name in recipe.encoders if name in used]
    known = {entry.name: _known(entry, ready) for entry in entries}
    ready.sources.update({name: source for name, source in known.items() if source})
    if not all(known.values()):
        from .checks.recipe_checks import check_recipe

        check_recipe(ready)  # before an encoder is opened
    for entry in entries:
        source = known[entry.name] or _opened(entry, ready)
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
        raise InputError(f"votes are for labels, and the task {task.name!r} is of numbers")
    source = None if isinstance(recipe.votes, bool) else recipe.votes
    return with_votes(clips, source, task, drop_ties=recipe.unlabelled == "drop")


def open_source(source: Source, ready: Prepared) -> Source:
    """Open the encoder of a source whose spec was only remembered.

    Raises
    ------
    InputError
        No such encoder (any more), or an option that it does not have; with file and line.
    """
    if source.encoder is not None or source.is_stored_space:
        return source
    return _opened(source.entry, ready)


def _clips(recipe: Recipe) -> Manifest:
    with with_note(recipe.at, "manifest"):
        clips = Manifest.read(recipe.manifest, root=recipe.root)
    for column, values in recipe.where.items():
        with with_note(recipe.at, "where", column):
            present = sorted({str(value) for value in clips.column(column)})
        for value in values:
            if value not in present:
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

    cache = ready.cache
    if entry.spec is not None:
        return _source(entry, ready.clips, entry.spec, None, entry.spec.store_dtype)
    if "space" in entry.options:
        with with_note(ready.recipe.at, *entry.keys):
            spec = cache.space(entry.options["space"]).spec
        known = _source(entry, ready.clips, spec, None, spec.store_dtype)
        if "compute" in spec.fields or is_code(spec.fields["encoder"]["name"]):
            return known
        note = f"{entry.name}: no encoder of affekt made the space {entry.options['space']}"
        return replace(known, note=f"{note}; members on it are compared, but predict no new clips")

    if is_code(entry.options["name"]):
        return _opened(entry, ready)
    options, store_dtype = _arguments(entry)
    before = recall(cache, options)
    if before is None:
        return None
    known = _source(
        entry, ready.clips, before.spec.with_store_dtype(store_dtype), None, store_dtype
    )
    return known if before.is_current else _reopened(known, before, ready)


def _reopened(known: Source, before: Opened, ready: Prepared) -> Source | None:
    """Open an encoder that changed; take its stored rows where it cannot be opened any more."""
    if ready.cache.find(known.spec) is None:
        return None
    name = known.entry.options["name"]
    stored = f"rows stored by it as it was are used ({known.spec.name})"
    if before.is_gone:
        return replace(known, note=f"{known.name}: the folder {name} is not there; {stored}")
    try:
        return _opened(known.entry, ready)
    except InputError as error:
        return replace(known, note=f"{known.name}: {name} cannot be opened: {error}; {stored}")


def _opened(entry: EncoderEntry, ready: Prepared) -> Source:
    from ...extract.encoder import Encoder

    with with_note(ready.recipe.at, *entry.keys):
        if entry.spec is not None:
            encoder = _of_a_model(entry, entry.spec, ready)
            return _source(entry, ready.clips, entry.spec, encoder, entry.spec.store_dtype)
        options, store_dtype = _arguments(entry)
        encoder = Encoder(**options)
        encoder.title = entry.name if encoder.folder is not None else None
        spec = encoder.spec.with_store_dtype(store_dtype)
        return _source(entry, ready.clips, spec, encoder, store_dtype)


def _of_a_model(entry: EncoderEntry, spec: Spec, ready: Prepared) -> Any:
    """Open what a given model reads: a folder of the recipe, the one that it noted, or the Hub."""
    from ..models.new_clips.own_encoders import find_encoder

    named = [one.options.get("name") for one in ready.recipe.encoders.values()]
    folders = [name for name in named if name and Path(name).is_dir()]
    return find_encoder(spec.with_store_dtype("float32"), folders, noted=entry.folder)


def _arguments(entry: EncoderEntry) -> tuple[dict[str, Any], str]:
    """Return the arguments of `Encoder`, and the type that its rows are stored in."""
    options = dict(entry.options)
    return options, options.pop("store_dtype", "float32")


def _source(
    entry: EncoderEntry, clips: Manifest, spec: Spec, encoder: Any, store_dtype: str
) -> Source:
    column = "path" if spec.modality == "audio" else "text"
    there = np.array([bool(value) for value in clips[column]], dtype=bool)
    return Source(entry.name, spec, encoder, clips.select(there), store_dtype, entry)
