"""Members that are models already: ``{model: FOLDER}``. They are not trained, and only predict.

What such a model reads is in its own spec, so it names no encoder. `with_models` adds the encoders
that its models need to a recipe, as if the recipe had named them.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....cache.errors import in_shell
from ....cache.files.reading import file_sha256, read_note
from ...models.folders.model_folder import CONFIG, read_folder, read_folders
from ...models.folders.run_folder import is_run
from ...models.needs import Needs
from ..recipes.entries import EncoderEntry, MemberEntry
from ..recipes.recipe import Recipe

if TYPE_CHECKING:
    from ...data.task import Task


def with_models(recipe: Recipe, task: Task) -> Recipe:
    """Return the recipe with the encoders of its given models.

    Parameters
    ----------
    task : Task
        Every model has to have its labels.

    Returns
    -------
    Recipe
        The same one where no member is a given model.

    Raises
    ------
    InputError
        Not a model folder, or a model of other labels; with file and line.
    """
    encoders = dict(recipe.encoders)
    members = {
        name: _described(entry, task, encoders) if entry.model else entry
        for name, entry in recipe.members.items()
    }
    return replace(recipe, encoders=encoders, members=members)


def _described(entry: MemberEntry, task: Task, encoders: dict[str, EncoderEntry]) -> MemberEntry:
    """Return the entry completed from the model's folder; add the encoders that it reads."""
    folder = Path(str(entry.model))
    _check_kind(entry)
    with entry.naming("model"):
        config, _ = read_folder(folder)
        needs = [Needs.from_record(record, str(folder)) for record in config["features"]]
        noted = read_folders(folder, [need.spec for need in needs])
    kind = config["task"].get("type", "labels")
    if sorted(config["labels"]) != sorted(task.labels) or kind != task.kind:
        what = "labels" if task.kind == "labels" else "dimensions"
        raise entry.error(
            f"{folder} gives {', '.join(config['labels'])}; the task {task.name} has "
            f"{', '.join(task.labels)}. Expected a model of the same {what}",
            "model",
        )
    on = []
    for need in needs:
        same = [one.name for one in encoders.values() if one.spec == need.spec]
        names = (f"{need.spec.name}-{number}" for number in count(2))
        free = (one for one in chain([need.spec.name], names) if one not in encoders)
        name = same[0] if same else next(free)
        keys = ("members", entry.name, "model")
        encoders[name] = EncoderEntry(name, {}, keys, need.spec, noted.get(need.spec.key))
        on.append(name)
    params: Any = config["head"].get("state", {}).get("params", {})
    return replace(
        entry,
        on=tuple(on),
        layers=dict.fromkeys(on, (-1,)),
        settings={"missing": ("predict",)} if params.get("missing") == "predict" else {},
        digest=file_sha256(folder / CONFIG),
    )


def _check_kind(entry: MemberEntry) -> None:
    """Refuse a run, and a published checkpoint, with what to do instead."""
    folder = Path(str(entry.model))
    if is_run(folder):
        raise entry.error(
            f"{folder} is the folder of a run; name the model of one of its "
            f"members: {folder / 'members' / 'NAME' / 'model'}",
            "model",
        )
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        message = f"{folder} {what}; expected the folder of a model"
        raise entry.error(message, "model")
    if "format" not in read_note(folder / CONFIG):
        raise entry.error(
            f"{folder} is not a model of affekt; if it is a published checkpoint, import it "
            f"first: affekt import-model {in_shell(folder)} -o MODEL",
            "model",
        )
