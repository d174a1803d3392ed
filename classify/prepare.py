"""Everything that a run can refuse before it works: manifest, labels, encoders, heads, strategies.

Nothing here decodes, embeds or trains, and nothing imports torch or scikit-learn unless a head has
to be checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from ..cache.cache import Cache
from ..cache.errors import InputError, nearest
from ..cache.features import pick_layers
from ..cache.manifest import Manifest
from ..cache.spec import Spec
from .located import Located
from .recipe import EncoderEntry, Recipe
from .task import Task

__all__ = ["Prepared", "Source", "check_work", "prepare"]

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Where the features of one encoder come from.

    Attributes
    ----------
    name : str
        The recipe's word for the encoder.
    spec : Spec
        Of the space that holds or will hold its embeddings.
    encoder : Encoder or None
        None where the recipe names a stored space.
    clips : Manifest
        The clips that have what it embeds: a path, or a text.
    store_dtype : str
    """

    name: str
    spec: Spec
    encoder: Any
    clips: Manifest
    store_dtype: str


@dataclass(frozen=True)
class Prepared:
    """A recipe whose inputs were read and found right.

    Attributes
    ----------
    recipe : Recipe
    task : Task
    clips : Manifest
        Every clip that takes part, labelled or not.
    labelled : Manifest
        Those that the task uses, with its labels.
    left_out : dict of str to int
        Raw label -> clips that the task leaves out.
    cache : Cache
    sources : dict of str to Source
        By encoder name; only encoders that a member uses.
    """

    recipe: Recipe
    task: Task
    clips: Manifest
    labelled: Manifest
    left_out: dict[str, int]
    cache: Cache
    sources: dict[str, Source]


def prepare(recipe: Recipe) -> Prepared:
    """Read what a recipe names, and check it.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    Prepared

    Raises
    ------
    InputError
        Anything wrong with manifest, task, encoders or split; with file and line.
    """
    task = _at(recipe.at["task"], lambda: Task.of(recipe.task))
    clips = _clips(recipe)
    labelled, left_out = task.select(clips, blank=recipe.unlabelled)
    cache = Cache(recipe.cache)
    used = {name for member in recipe.members.values() for name in member.on}
    sources = {
        name: _at(entry.at, partial(_source, entry, clips, cache))
        for name, entry in recipe.encoders.items()
        if name in used
    }
    for name, source in sources.items():
        if not len(source.clips):
            what = "path" if source.spec.modality == "audio" else "text"
            recipe.encoders[name].at.fail(
                f"encoder {name!r} needs {source.spec.modality}, and every {what} of "
                f"{clips.source} is blank"
            )
    return Prepared(recipe, task, clips, labelled, left_out, cache, sources)


def _clips(recipe: Recipe) -> Manifest:
    clips = _at(recipe.at["manifest"], lambda: Manifest.read(recipe.manifest, root=recipe.root))
    for column, values in recipe.where.items():
        at = recipe.at["where"][column]
        present = sorted({str(value) for value in _at(at, partial(clips.__getitem__, column))})
        for value in values:
            if value not in present:
                at.fail(
                    f"no clip has {column} {value!r}; expected one of {', '.join(present[:20])}."
                    f"{nearest(value, present)}"
                )
        clips = clips.where(**{column: values})
    if not len(clips):
        recipe.at["where"].fail("no clip fits every condition")
    return clips


def _source(entry: EncoderEntry, clips: Manifest, cache: Cache) -> Source:
    if "space" in entry.options:
        spec, encoder = cache.space(entry.options["space"]).spec, None
        store_dtype = spec.store_dtype
    else:
        from ..extract.encoder import Encoder

        options = dict(entry.options)
        store_dtype = options.pop("store_dtype", "float32")
        encoder = Encoder(**options)
        spec = encoder.spec.with_store_dtype(store_dtype)
    column = "path" if spec.modality == "audio" else "text"
    there = np.array([bool(value) for value in clips[column]], dtype=bool)
    return Source(entry.name, spec, encoder, clips.select(there), store_dtype)


def check_work(ready: Prepared) -> None:
    """Check heads, their settings and strategies: apart from `prepare`, for it needs sklearn.

    Raises
    ------
    InputError
        An unknown name or an impossible setting; with file and line.
    """
    from .member import check_head
    from .run_compare import check_compare
    from .strategies import STRATEGIES

    recipe = ready.recipe
    for member in recipe.members.values():
        check_head(member)
        for name in member.on:
            for layers in member.layers[name]:
                _at(member.at, partial(pick_layers, layers, ready.sources[name].spec.n_layers))
    if "ensembles" in recipe.at:
        for item in recipe.at["ensembles"].many():
            if item.value not in STRATEGIES:
                item.fail(
                    f"unknown ensemble {item.value!r}; expected one of {', '.join(STRATEGIES)}."
                    f"{nearest(str(item.value), list(STRATEGIES))}"
                )
    check_compare(ready)


def _at(at: Located, action: Callable[[], T]) -> T:
    """Do something that may refuse its input, and say where in the recipe the input stands."""
    try:
        return action()
    except InputError as error:
        error.add_note(f"named in {at.source}:{at.line}")
        raise
