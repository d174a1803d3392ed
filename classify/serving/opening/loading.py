"""`load_model`: a model folder, a model of the Hub, or what a run chose, ready to predict."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from ....cache.errors import InputError
from ...models.model import Model
from ...models.published import published
from ..predictor import Predictor
from .run_folder import is_run

if TYPE_CHECKING:
    from ....cache.cache import Cache

__all__ = ["load_model"]


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
        `affekt.classify.models.published` knows.
    cache : Cache, optional
        Where a model's features lie.
    system : str, optional
        A member or ensemble of the run; the one that dev chose by default.
    revision : str, optional
        Commit, tag or branch on the Hub.
    encoders : list of path
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
    from .system import open_system

    if system is not None or is_run(place):
        for name, value in (("cache", cache), ("revision", revision)):
            if value is not None:
                raise InputError(f"{name}= is for a model; {place} is the folder of a run")
        return Predictor(open_system(place, system=system), encoders=encoders, device=device)
    if found := None if revision else published(place, encoders=encoders, device=device):
        model = found.model
    else:
        model = Model.from_pretrained(str(place), cache, revision=revision)
    model.encoders, model.device = tuple(encoders), device
    return model
