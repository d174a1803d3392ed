"""One layer: every C and every fold's models, and what they say of the clips they did not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...cache.errors import InputError
from ..models.read_features import read_features
from ..models.scalers.scaling import Scaling
from .layer_rows import BLOCK, Rows
from .nested_folds import Masks
from .solver import MEMORY, Problems, predict, solve

if TYPE_CHECKING:
    from ...cache.manifest import Manifest
    from ...cache.space import Features


@dataclass(frozen=True)
class LayerJob:
    """What is the same for every layer.

    Attributes
    ----------
    clips : Manifest
        Labelled.
    codes : ndarray of int (clips,)
    values : sequence of float
        C to try.
    scale : bool or str
        As for `Model`.
    balanced : bool
        Whether every class weighs the same.
    memory : int
        Bytes that the rows of a layer may take, else they go to a scratch file; and as many for
        weights and what the solver remembers, else problems are solved in several batches.
    check : callable
        Called often; may raise.
    """

    clips: Manifest
    codes: np.ndarray
    labels: Sequence[str]
    masks: Masks
    values: Sequence[float]
    scale: bool | str
    balanced: bool
    memory: int
    check: Callable[[], None] = lambda: None

    def run(self, features: Features) -> np.ndarray:
        """Train on one layer.

        Returns
        -------
        guesses : ndarray of int16 (masks, values, clips)
            The most probable label of each clip; -1 where a model was trained on it.
        """
        guesses = np.full((len(self.masks.masks), len(self.values), len(self.codes)), -1, np.int16)
        for present, group in self.by_classes():
            codes = self.codes_among(present)
            for mask, served in self.parts(group):
                with Rows(
                    self.reader(features, mask),
                    codes,
                    self.masks.cells,
                    scale=self.scale is True,
                    in_memory=self.memory,
                ) as rows:
                    self._solve(rows, present, served, guesses)
        return guesses

    def check_classes(self) -> None:
        """Refuse folds whose training clips have one label only."""
        for present, _ in self.by_classes():
            if len(present) < 2:
                raise InputError(
                    f"a fold trains on clips of the label {self.labels[present[0]]!r} alone; "
                    "expected at least two labels in each: use fewer folds, or another --split"
                )

    def by_classes(self) -> list[tuple[np.ndarray, list[int]]]:
        """Group masks by the classes that they train on: the others have no logit."""
        found: dict[tuple[int, ...], list[int]] = {}
        for number, mask in enumerate(self.masks.masks):
            there = np.unique(self.codes[self._in(mask)])
            found.setdefault(tuple(there.tolist()), []).append(number)
        return [(np.array(present), group) for present, group in found.items()]

    def _in(self, mask: np.ndarray) -> np.ndarray:
        """Return which clips are in the cells of a mask, `(clips,)` bool."""
        return np.append(mask, False)[self.masks.cells]  # cell -1 is the last one

    def codes_among(self, present: np.ndarray) -> np.ndarray:
        """Return codes among the present classes; of clips that are in no such fold's train, 0."""
        at = np.searchsorted(present, self.codes).clip(max=len(present) - 1)
        return np.where(present[at] == self.codes, at, 0)

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
        train = self._in(self.masks.masks[mask])
        scaling = Scaling(str(self.scale)).fit(values[train], self.clips.select(train))
        return scaling.apply(values, self.clips).__getitem__

    def parts(self, group: list[int]) -> list[tuple[int | None, list[int]]]:
        """Return for each reading of a layer what `reader` takes, and the masks that it serves."""
        if isinstance(self.scale, str):
            return [(one, [one]) for one in group]
        return [(None, group)]

    def _solve(
        self,
        rows: Rows,
        present: np.ndarray,
        group: Sequence[int],
        guesses: np.ndarray,
    ) -> None:
        problems, pairs = self.problems(present, group)
        shrink = None
        if self.scale is True:
            shrink = np.array([rows.ratios(mask) for mask in self.masks.masks[list(group)]])
        values = len(self.values)
        each = 4 * len(present) * ((rows.dim + 1) * (2 * MEMORY + 10 + 2 * values) + 5 * BLOCK)
        size = values * max(1, self.memory // each)  # all C of as many masks
        for start in range(0, len(pairs), size):
            some = problems.take(np.arange(start, min(start + size, len(pairs))))
            at = pairs[start : start + size]
            if shrink is not None:
                some = replace(some, shrink=shrink[at[:, 0]])
            W = solve(rows, some, check=self.check)
            self.note(predict(rows, W, some), present, group, at, rows.order, guesses)

    def problems(self, present: np.ndarray, group: Sequence[int]) -> tuple[Problems, np.ndarray]:
        """Return every mask of a group with every C, and `(problems, 2)` which these are."""
        masks = self.masks.masks[list(group)]
        counts = np.array([np.bincount(self.codes[self._in(m)])[present] for m in masks])
        weights = np.ones(counts.shape)
        if self.balanced:
            weights = counts.sum(axis=1, keepdims=True) / (len(present) * counts)
        pairs = np.indices((len(group), len(self.values))).reshape(2, -1).T
        mask, value = pairs.T
        values = np.asarray(self.values, float)[value]
        return Problems(masks[mask], values, weights[mask].astype(np.float32)), pairs

    @staticmethod
    def note(
        found: np.ndarray,
        present: np.ndarray,
        group: Sequence[int],
        pairs: np.ndarray,
        order: np.ndarray,
        guesses: np.ndarray,
    ) -> None:
        """Write what `predict` found of some problems into `guesses` `(masks, values, clips)`."""
        named = np.where(found < 0, -1, present[found]).astype(np.int16)
        for (mask, value), row in zip(pairs.tolist(), named, strict=True):
            guesses[group[mask], value, order] = row
