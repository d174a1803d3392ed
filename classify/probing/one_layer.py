"""What a probe trains on one layer: what labels and ratings have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...cache.errors import InputError, check_number
from ..models.read_features import read_features
from ..models.scalers.scaling import Scaling
from .layer_rows import Rows
from .nested_folds import Masks

if TYPE_CHECKING:
    from ...cache.manifest import Manifest
    from ...cache.space import Features
    from ..data.task import Task

MEMORY = 384 << 20  # bytes of rows, and as many of weights, in all threads together
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class LayerJob(ABC):
    """What is the same for every layer: the clips, and the models to train.

    Guesses are arrays `(..., clips)` of classes, or `(..., clips, dimensions)` of ratings.

    Attributes
    ----------
    clips : Manifest
        Selected by the task.
    values : sequence of float
        Strengths of the penalty to try.
    scale : bool or str
        As for `Model`.
    class_weight : "balanced" or None
        Of labels.
    memory : int
        Bytes that the rows of a layer may take, else they go to a scratch file; and as many for
        weights and what the solver remembers, else models are trained in several batches.
    check : callable
        Called often; may raise.
    """

    clips: Manifest
    task: Task
    masks: Masks
    values: Sequence[float]
    scale: bool | str
    class_weight: str | None = "balanced"
    memory: int = MEMORY
    check: Callable[[], None] = lambda: None

    measure: ClassVar[str]  # of clips that a model was not trained on
    penalty: ClassVar[str]  # the name of its strength
    grid: ClassVar[Sequence[float]]  # strengths that are tried by default
    limits: ClassVar[tuple[float, float]]  # of a strength
    outputs: ClassVar[str]  # what `Task.labels` are

    @abstractmethod
    def run(self, features: Features) -> np.ndarray:
        """Train on one layer.

        Returns
        -------
        guesses : ndarray (masks, values, clips, ...)
            Nothing of the clips that a model was trained on.
        """

    @abstractmethod
    def nothing(self, *shape: int) -> np.ndarray:
        """Return guesses `(*shape, clips, ...)` without information."""

    @abstractmethod
    def score(self, clips: np.ndarray, guess: np.ndarray) -> float:
        """Return the measure of one guess on some clips, `(clips,)` bool."""

    @abstractmethod
    def scores(
        self, clips: np.ndarray, guesses: np.ndarray
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the measure of several guesses on some clips, with intervals over speakers.

        Returns
        -------
        scores : list of dict
            See `score`.
        warnings : list of str
        """

    @abstractmethod
    def check_train(self, remedy: str) -> list[str]:
        """Raise unless every mask holds clips that can be learnt from; return warnings.

        With what to do.
        """

    def work(self, width: int) -> float:
        """Return what decides whether a device is worth it; 0 where none is used."""
        return 0.0

    @classmethod
    def expected(cls) -> str:
        """Return the end of a message about strengths of the penalty."""
        some = ",".join(f"{value:g}" for value in cls.grid[2:4])
        return f"expected numbers, as `{cls.penalty}=[{some}]`"

    @classmethod
    def check_values(cls, values: Any) -> None:
        """Raise unless these are strengths of the penalty, each once."""
        if isinstance(values, str) or not hasattr(values, "__len__") or not len(values):
            raise InputError(f"`{cls.penalty}` is {values!r}; {cls.expected()}")
        for value in values:
            check_number(cls.penalty, value, *cls.limits)
        if len(set(values)) < len(values):
            raise InputError(f"`{cls.penalty}` is {list(values)}; expected each value once")

    @property
    def pooled(self) -> bool:
        """Whether the test clips are those of several folds: intervals are wider then."""
        return len(self.masks.outer) > 1

    def in_mask(self, mask: np.ndarray) -> np.ndarray:
        """Return which clips are in the cells of a mask, `(clips,)` bool."""
        return np.append(mask, False)[self.masks.cells]  # cell -1 is the last one

    def rows(self, features: Features, mask: int | None, targets: np.ndarray) -> Rows:
        """Return the rows of a layer, as `reader` reads them."""
        read, cells = self.reader(features, mask), self.masks.cells
        plain = isinstance(self.scale, bool)  # else what is read is scaled
        return Rows(read, targets, cells, scale=plain, in_memory=self.memory)

    def reader(
        self, features: Features, mask: int | None = None
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Return what reads the features of clips, given their positions.

        Features that are scaled within speakers, say, are read at once: what a column holds
        depends on the mask.
        """
        if mask is None:
            ids = np.asarray(self.clips.ids, dtype=object)
            return lambda at: read_features(self.clips.select(ids[at].tolist()), [features])
        values = read_features(self.clips, [features])
        train = self.in_mask(self.masks.masks[mask])
        scaling = Scaling(str(self.scale)).fit(values[train], self.clips.select(train))
        return scaling.apply(values, self.clips).__getitem__

    def parts(self, group: list[int]) -> list[tuple[int | None, list[int]]]:
        """Return for each reading of a layer what `reader` takes, and the masks that it serves."""
        if isinstance(self.scale, str):
            return [(one, [one]) for one in group]
        return [(None, group)]


def score(value: float, interval: tuple[float, float]) -> dict[str, Any]:
    """Return a measure and its interval as JSON; None without clips or with too few speakers.

    Examples
    --------
    >>> score(0.5, (math.nan, math.nan))
    {'value': 0.5, 'interval': None}
    """
    return {
        "value": None if math.isnan(value) else float(value),
        "interval": None if math.isnan(interval[0]) else list(interval),
    }
