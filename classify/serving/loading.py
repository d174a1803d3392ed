"""Open what predicts: a model folder, a model of the Hub, or what a run chose."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache.errors import InputError
from ...cache.files.home_folder import at_home
from ...cache.files.reading import file_sha256, read_note
from ..models.folders.run_folder import (
    check_whole,
    chosen_system,
    is_run,
    read_comparison,
    readable_name,
)
from ..models.model import Model
from ..models.new_clips.predict_methods import Predicts, folders
from ..models.new_clips.system import System
from ..models.published import published

if TYPE_CHECKING:
    from ...cache.cache import Cache


def load_model(
    place: str | PathLike[str],
    cache: Cache | None = None,
    *,
    system: str | None = None,
    revision: str | None = None,
    encoders: Sequence[str | PathLike[str]] = (),
    device: str = "auto",
) -> Model | Predictor:
    """Load a model folder, a model of the Hub, what a run chose, or a published checkpoint.

    Parameters
    ----------
    place : path or str
        A model folder, a Hub id, the folder that a run left, or a checkpoint that
        `affekt.classify.models.published` lists.
    cache : Cache, optional
        Where a model's features are.
    system : str, optional
        A member or ensemble of the run; the one that dev chose by default.
    revision : str, optional
        Commit, tag or branch on the Hub.
    encoders : path or list of path
        Folders of encoders, where those that are remembered have moved.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` ...

    Returns
    -------
    Model or Predictor
        Both have `predict`, `answer` and `close`, and keep their encoders open.

    Raises
    ------
    InputError, DamagedError, SpecError
        As `Model.from_pretrained` and `affekt.classify.open_system`.

    Examples
    --------
    >>> with load_model("out") as predictor:  # doctest: +SKIP
    ...     predictor.predict("clip.wav").label
    """
    encoders = folders(encoders)
    if system is not None or is_run(place):
        for name, value in (("cache", cache), ("revision", revision)):
            if value is not None:
                raise InputError(f"`{name}` is for a model; {place} is the folder of a run")
        return Predictor(open_system(place, system=system), encoders=encoders, device=device)
    if found := None if revision else published(place, encoders=encoders, device=device):
        model = found.model
    else:
        model = Model.from_pretrained(str(place), cache, revision=revision)
    model.encoders, model.device = encoders, device
    return model


def open_system(
    place: str | PathLike[str], *, system: str | None = None, encoders: Sequence[Any] = ()
) -> System:
    """Open a model folder, a Hub id, the folder that a run left, or a published checkpoint.

    Parameters
    ----------
    place : path or str
    system : str, optional
        A member or ensemble of the run; the one that dev chose by default.
    encoders : sequence of path
        Of a published checkpoint: the encoder that is not in its folder.

    Returns
    -------
    System

    Raises
    ------
    InputError
        Neither a model nor a run; an unknown system; what the run kept of it is not whole.
    """
    if not str(place):
        raise InputError('"" names no model; expected a model folder, a Hub id or a run\'s folder')
    folder = Path(at_home(place))
    check_whole(folder)
    if (folder / "repeats.json").is_file():
        raise InputError(
            f"{folder} holds repeats, each with models of its own; name one of them: "
            f"{folder / 'repeat-1'}"
        )
    if not (folder / "comparison.json").is_file():
        if (folder / "members").is_dir():
            raise InputError(
                f"{folder} is a run without comparison.json: it did not finish; run its recipe "
                "again, or name the model of one member"
            )
        if system is not None:
            what = "is a model" if folder.is_dir() else "is not a folder here"
            raise InputError(f"`system` is for the folder of a run; {place} {what}")
        name = readable_name(place)
        if found := published(place, encoders=encoders):
            return System(name, {name: found.model})
        return System(name, {name: Model.from_pretrained(str(place))})
    data = read_comparison(folder / "comparison.json")
    chosen = chosen_system(data, folder, system)
    entry = data["systems"][chosen]
    _check_compared(folder, entry["members"], combined=bool(entry["strategy"]))
    opened = {name: _open_member(folder / "members" / name) for name in entry["members"]}
    models = {name: found[0] for name, found in opened.items()}
    folds = {name: found for name, found in opened.items() if len(found) > 1}
    if not entry["strategy"]:
        return System(chosen, models, folds=folds)
    from ..ensembles.saved import read_replays

    replays = read_replays(folder)
    if chosen not in replays or set(replays[chosen].members) != set(models):
        raise InputError(f"{folder}: ensembles.json does not hold {chosen!r}; run the recipe again")
    why = "" if system else (data.get("choice") or {}).get("why", "")
    return System(chosen, models, replays[chosen], why, folds)


def _check_compared(folder: Path, members: Sequence[str], *, combined: bool) -> None:
    """Check that models, and what combines them, are those that the run compared."""
    files = read_note(folder / "run.json").get("files")
    if not isinstance(files, dict):
        return
    models = [(folder / "members" / name).glob("model*/config.json") for name in members]
    rules = [folder / "ensembles.json"] * combined
    for path in (*chain(*models), *rules):  # a config has its weights' hash
        noted = files.get(path.relative_to(folder).as_posix())
        if noted is not None and path.is_file() and noted != file_sha256(path):
            raise InputError(f"{path} is not as the run wrote it; run the recipe again")


def _open_member(folder: Path) -> list[Model]:
    """Open what predicts new clips in the folder of a member: one model, or one from each fold."""
    if (folder / "model").is_dir():
        return [Model.from_pretrained(folder / "model")]
    folds = [path for path in folder.glob("model-*") if path.name[6:].isdecimal()]
    if not folds:
        raise InputError(f"{folder}: no model there; run the recipe again to have it written")
    folds.sort(key=lambda path: int(path.name[6:]))
    models = [Model.from_pretrained(path) for path in folds]
    for model in models[1:]:
        model.scaling.is_quiet = True
    return models


class Predictor(Predicts):
    """The chosen system of a run, with its encoders kept open. Made by `load_model`.

    Parameters
    ----------
    system : System
    encoders, device
        See `Predicts`.

    Attributes
    ----------
    name : str
        Of the member or ensemble.
    labels : tuple of str
        In task order.
    """

    def __init__(
        self,
        system: System,
        *,
        encoders: Sequence[str | os.PathLike[str]] = (),
        device: str = "auto",
    ) -> None:
        self.system = system
        self.encoders = folders(encoders)
        self.device = device
        self._opened = system.opened

    @property
    def name(self) -> str:
        """Of the member or ensemble."""
        return self.system.name

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in task order."""
        return self.system.labels

    def _as_system(self) -> System:
        return self.system

    def __repr__(self) -> str:
        return f"<Predictor {self.name!r} over {', '.join(self.labels)}>"
