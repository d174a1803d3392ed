"""One layer: every C and every fold's models, and what they say of the clips they did not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    check: Callable[[], None]

    def run(self, features: Features) -> np.ndarray:
        """Train on one layer.

        Returns
        -------
        guesses : ndarray of int16 (masks, values, clips)
            The most probable label of each clip; -1 where a model was trained on it.
        """
        guesses = np.full((len(self.masks.masks), len(self.values), len(self.codes)), -1, np.int16)
        for present, group in self._by_classes():
            if not isinstance(self.scale, str):
                with self._rows(features, present) as rows:
                    self._solve(rows, present, group, guesses)
                continue
            for one in group:  # within speakers, say: what a column holds depends on the fold
                with self._scaled_within(features, present, one) as rows:
                    self._solve(rows, present, [one], guesses)
        return guesses

    def check_classes(self) -> None:
        """Refuse folds whose training clips have one label only."""
        for present, _ in self._by_classes():
            if len(present) < 2:
                raise InputError(
                    f"a fold trains on clips of the label {self.labels[present[0]]!r} alone; "
                    "expected at least two labels in each: use fewer folds, or another --split"
                )

    def _by_classes(self) -> list[tuple[np.ndarray, list[int]]]:
        """Group masks by the classes that they train on: the others have no logit."""
        found: dict[tuple[int, ...], list[int]] = {}
        for number, mask in enumerate(self.masks.masks):
            there = np.unique(self.codes[self._in(mask)])
            found.setdefault(tuple(there.tolist()), []).append(number)
        return [(np.array(present), group) for present, group in found.items()]

    def _in(self, mask: np.ndarray) -> np.ndarray:
        """Return which clips are in the cells of a mask, `(clips,)` bool."""
        return np.append(mask, False)[self.masks.cells]  # cell -1 is the last one

    def _codes(self, present: np.ndarray) -> np.ndarray:
        """Return codes among the present classes; of clips that are in no such fold's train, 0."""
        at = np.searchsorted(present, self.codes).clip(max=len(present) - 1)
        return np.where(present[at] == self.codes, at, 0)

    def _rows(self, features: Features, present: np.ndarray) -> Rows:
        ids = np.asarray(self.clips.ids, dtype=object)

        def read(at: np.ndarray) -> np.ndarray:
            return read_features(self.clips.select(ids[at].tolist()), [features])

        return Rows(
            read,
            self._codes(present),
            self.masks.cells,
            scale=bool(self.scale),
            in_memory=self.memory,
        )

    def _scaled_within(self, features: Features, present: np.ndarray, one: int) -> Rows:
        values = read_features(self.clips, [features])
        train = self._in(self.masks.masks[one])
        scaling = Scaling(self.scale).fit(values[train], self.clips.select(train))
        scaled = scaling.apply(values, self.clips)
        return Rows(
            scaled.__getitem__, self._codes(present), self.masks.cells, in_memory=self.memory
        )

    def _solve(
        self,
        rows: Rows,
        present: np.ndarray,
        group: Sequence[int],
        guesses: np.ndarray,
    ) -> None:
        masks = self.masks.masks[list(group)]
        counts = np.array([np.bincount(self.codes[self._in(m)])[present] for m in masks])
        weights = np.ones(counts.shape)
        if self.balanced:
            weights = counts.sum(axis=1, keepdims=True) / (len(present) * counts)
        shrink = np.array([rows.ratios(mask) for mask in masks]) if self.scale is True else None
        pairs = [(m, v) for m in range(len(group)) for v in range(len(self.values))]
        each = 4 * len(present) * ((rows.dim + 1) * (2 * MEMORY + 10) + 5 * BLOCK)
        size = max(1, self.memory // each)
        for start in range(0, len(pairs), size):
            at, values = np.array(pairs[start : start + size]).T
            problems = Problems(
                masks[at],
                np.asarray(self.values, float)[values],
                weights[at].astype(np.float32),
                None if shrink is None else shrink[at],
            )
            W = solve(rows, problems, check=self.check)
            found = predict(rows, W, problems)
            named = np.where(found < 0, -1, present[found]).astype(np.int16)
            for place, (m, v) in enumerate(zip(at.tolist(), values.tolist(), strict=True)):
                guesses[group[m], v, rows.order] = named[place]
