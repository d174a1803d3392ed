"""A member that was trained on several folds: new clips get the mean of the folds' answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.errors import InputError
from ..models.model import Model

if TYPE_CHECKING:
    from ..data.task import Task
    from ..models.needs import Needs
    from ..models.scalers.scaling import Scaling


@dataclass(frozen=True)
class FoldMean:
    """The models of one member, one from each fold; they read the same encoders.

    Attributes
    ----------
    parts : tuple of Model
        May read different layers.
    """

    parts: tuple[Model, ...]

    @property
    def needs(self) -> list[Needs]:
        """Of the first fold; the others' differ in layers only."""
        return self.parts[0].needs

    @property
    def canaries(self) -> list[np.ndarray | None]:
        """What the encoders answered when the first fold was trained."""
        return self.parts[0].canaries

    @property
    def encoder_folders(self) -> dict[str, Path]:
        """Where its encoders are, by spec key."""
        return self.parts[0].encoder_folders

    @property
    def task(self) -> Task:
        """Labels and their order."""
        return self.parts[0].task

    @property
    def head_(self) -> Any:
        """Of the first fold."""
        return self.parts[0].head_

    @property
    def scaling(self) -> Scaling:
        """Of the first fold."""
        return self.parts[0].scaling


def open_member(folder: Path) -> Model | FoldMean:
    """Open what predicts new clips in the folder of a member."""
    if (folder / "model").is_dir():
        return Model.from_pretrained(folder / "model")
    folds = [path for path in folder.glob("model-*") if path.name[6:].isdecimal()]
    if not folds:
        raise InputError(f"{folder}: no model there; run the recipe again to have it written")
    folds.sort(key=lambda path: int(path.name[6:]))
    return FoldMean(tuple(Model.from_pretrained(path) for path in folds))
