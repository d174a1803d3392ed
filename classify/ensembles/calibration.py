"""Calibrate a member's probabilities on dev, before it is fused.

One over-confident member outshouts the others in every mean and maximum; calibration gives each the
voice that it earned. All calibrators have ``fit(predictions, truth)`` and ``apply(predictions)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import softmax

from ...cache.errors import InputError, one_of
from ..data.predictions import Predictions
from ..metrics import measures as metrics
from .fixed_rules import FLOOR, State, check_state, distribution, truth_codes

ENOUGH_CLIPS, ENOUGH_GROUPS = 200, 10
AMOUNTS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)  # candidate degrees of calibration
FOLDS = 5  # of dev speakers, which decide that
LARGEST = 4.0  # a temperature beyond this, or below its inverse, comes from too few errors


def trust(n_clips: int, n_groups: int | None = None) -> float:
    """Return the degree to which dev is followed, from 0 (not at all) to 1.

    Small samples find exaggerated calibrations, so below 200 clips or 10 speakers what is learnt
    is shrunk towards no calibration.

    Examples
    --------
    >>> trust(50), trust(1000, 4), trust(1000)
    (0.25, 0.4, 1.0)
    """
    share = n_clips / ENOUGH_CLIPS
    if n_groups is not None:
        share = min(share, n_groups / ENOUGH_GROUPS)
    return min(1.0, share)


class Calibrator(ABC):
    """Base class: learns on dev how far probabilities can be trusted.

    What is learnt is followed as far as other dev speakers are better off by it: of the amounts
    that `trust` allows, that with the lowest NLL on speakers held out from the calibrator, in
    folds. From one speaker only a temperature is learnt.
    """

    name: ClassVar[str]
    one_speaker: ClassVar[bool] = False  # whether it learns from one

    def fit(
        self, predictions: Predictions, truth: Sequence[str], groups: np.ndarray | None = None
    ) -> Self:
        """Learn from dev predictions, its true labels and the speaker of each clip, `(clips,)`.

        Without `groups` each clip is taken as independent.
        """
        codes, proba = truth_codes(truth, predictions), predictions.proba
        names = np.arange(len(codes)) if groups is None else groups
        groups = np.unique(names, return_inverse=True)[1]
        self._learn(proba, codes)
        self._follow(self._amount(proba, codes, groups))
        return self

    def apply(self, predictions: Predictions) -> Predictions:
        """Return calibrated predictions."""
        return predictions.like(predictions.ids, self._calibrated(predictions.proba))

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Return what was learnt."""

    @abstractmethod
    def get_state(self) -> dict[str, np.ndarray]:
        """Return the learnt numbers by name, float64."""

    @abstractmethod
    def set_state(self, n_labels: int, arrays: State) -> Self:
        """Take the numbers of `get_state` back; `InputError` where they do not fit."""

    def _amount(self, proba: np.ndarray, codes: np.ndarray, groups: np.ndarray) -> float:
        n_groups = len(np.unique(groups))
        most = trust(len(codes), n_groups)
        if n_groups < 2:
            return most if self.one_speaker else 0.0
        lost = np.zeros(len(AMOUNTS))
        for fold in range(min(FOLDS, n_groups)):
            held = groups % FOLDS == fold
            learner = copy(self)
            learner._learn(proba[~held], codes[~held])
            for at, amount in enumerate(AMOUNTS):
                one = copy(learner)
                one._follow(amount)
                lost[at] += held.sum() * metrics.nll(codes[held], one._calibrated(proba[held]))
        return min(most, AMOUNTS[int(np.argmin(lost))])

    @abstractmethod
    def _learn(self, proba: np.ndarray, codes: np.ndarray) -> None:
        """Learn from probabilities `(clips, labels)` and the positions of the true labels."""

    @abstractmethod
    def _follow(self, amount: float) -> None:
        """Shrink what was learnt: 1 keeps all of it, 0 leaves the probabilities as they are."""

    @abstractmethod
    def _calibrated(self, proba: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities."""


class Temperature(Calibrator):
    """One number for all classes: probabilities to the power 1/T (Guo et al., 2017).

    The most probable label of a clip never changes. T is between 1/4 and 4.

    Examples
    --------
    >>> sure = Predictions([str(i) for i in range(400)], ["x", "y"], [[0.99, 0.01]] * 400)
    >>> calm = Temperature().fit(sure, ["x", "x", "x", "y"] * 100).apply(sure)
    >>> calm.proba[0].round(2).tolist()
    [0.76, 0.24]
    """

    name = "temperature"
    one_speaker = True

    def __init__(self):
        self.temperature_ = 1.0

    def _learn(self, proba: np.ndarray, codes: np.ndarray) -> None:
        from scipy import optimize  # a third of a second, which --check does not need

        logs = _logs(proba)
        edge = np.log(LARGEST)
        found: Any = optimize.minimize_scalar(
            lambda t: metrics.nll(codes, softmax(logs / np.exp(t), axis=1)),
            bounds=(-edge, edge),
            method="bounded",
        )
        self.temperature_ = float(np.exp(found.x))

    def _follow(self, amount: float) -> None:
        self.temperature_ **= amount

    def _calibrated(self, proba: np.ndarray) -> np.ndarray:
        return distribution(softmax(_logs(proba) / self.temperature_, axis=1))

    def describe(self) -> dict[str, object]:
        """Return the temperature: above 1 the member was too sure."""
        return {"temperature": self.temperature_}

    def get_state(self) -> dict[str, np.ndarray]:
        """Return the temperature."""
        return {"temperature": np.array([self.temperature_])}

    def set_state(self, n_labels: int, arrays: State) -> Temperature:
        """Take the temperature back."""
        check_state("temperature", {"temperature": (1,)}, arrays)
        self.temperature_ = float(arrays["temperature"][0])
        if self.temperature_ <= 0:
            raise InputError(f"temperature is {self.temperature_}; expected a number above 0")
        return self


class Vector(Calibrator):
    """A scale and an offset for each class on the log-probabilities (Guo et al., 2017).

    A small penalty pulls to scale 1 and offset 0, so that a rare class cannot run away. A class
    that dev does not have keeps the probability that it had.
    """

    name = "vector"

    def __init__(self, penalty: float = 1e-3):
        self.penalty = penalty
        self.scale_ = np.empty(0)
        self.offset_ = np.empty(0)
        self.absent_ = np.empty(0)

    def _learn(self, proba: np.ndarray, codes: np.ndarray) -> None:
        from scipy import optimize  # a third of a second, which --check does not need

        size = proba.shape[1]
        there = np.flatnonzero(np.bincount(codes, minlength=size))
        logs = _logs(proba[:, there])
        codes = np.searchsorted(there, codes)
        n, k = logs.shape
        rows = np.arange(n)
        start = np.r_[np.ones(k), np.zeros(k)]

        def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
            found = softmax(logs * theta[:k] + theta[k:], axis=1)
            residual = found.copy()
            residual[rows, codes] -= 1
            away = theta - start
            gradient = np.r_[(residual * logs).sum(axis=0), residual.sum(axis=0)] / n
            value = metrics.nll(codes, found) + self.penalty / 2 * away @ away
            return value, gradient + self.penalty * away

        found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B")
        self.scale_, self.offset_ = np.ones(size), np.zeros(size)
        self.scale_[there], self.offset_[there] = found.x[:k], found.x[k:]
        self.absent_ = _absent(there, size)

    def _follow(self, amount: float) -> None:
        self.scale_ = 1 + amount * (self.scale_ - 1)
        self.offset_ = amount * self.offset_

    def _calibrated(self, proba: np.ndarray) -> np.ndarray:
        scores = _logs(proba) * self.scale_ + self.offset_
        return _kept(proba, softmax(scores, axis=1), self.absent_)

    def describe(self) -> dict[str, object]:
        """Return scale and offset of each class, in task order."""
        return {"scale": self.scale_.tolist(), "offset": self.offset_.tolist()}

    def get_state(self) -> dict[str, np.ndarray]:
        """Return scales and offsets of the labels."""
        return {"scale": self.scale_, "offset": self.offset_, "absent": self.absent_}

    def set_state(self, n_labels: int, arrays: State) -> Vector:
        """Take scales and offsets back."""
        arrays = {"absent": np.zeros(n_labels), **arrays}
        check_state("vector", dict.fromkeys(("scale", "offset", "absent"), (n_labels,)), arrays)
        self.scale_, self.offset_, self.absent_ = (
            arrays[name] for name in ("scale", "offset", "absent")
        )
        return self


class Isotonic(Calibrator):
    """A rising step function for each class, then divided by the sum (Zadrozny and Elkan, 2002).

    Its probabilities are mixed with those before. A class that dev does not have keeps the
    probability that it had.
    """

    name = "isotonic"

    def __init__(self):
        self.steps_: list[tuple[np.ndarray, np.ndarray]] = []
        self.absent_ = np.empty(0)
        self.trust_ = 1.0

    def _learn(self, proba: np.ndarray, codes: np.ndarray) -> None:
        from sklearn.isotonic import IsotonicRegression

        self.steps_ = []
        for k in range(proba.shape[1]):
            step = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
            step.fit(proba[:, k], codes == k)
            self.steps_.append((step.X_thresholds_, step.y_thresholds_))
        self.absent_ = _absent(np.unique(codes), proba.shape[1])

    def _follow(self, amount: float) -> None:
        self.trust_ = amount

    def _calibrated(self, proba: np.ndarray) -> np.ndarray:
        columns = [np.interp(proba[:, k], x, y) for k, (x, y) in enumerate(self.steps_)]
        scores = distribution(np.maximum(np.stack(columns, axis=1), 1e-6))
        return _kept(proba, self.trust_ * scores + (1 - self.trust_) * proba, self.absent_)

    def describe(self) -> dict[str, object]:
        """Return how many steps each class has."""
        return {"steps": [len(x) for x, _ in self.steps_]}

    def get_state(self) -> dict[str, np.ndarray]:
        """Return where the steps of each label are, and how high."""
        both = zip(("x", "y"), zip(*self.steps_, strict=True), strict=True)
        steps = {
            f"{axis}.{k}": np.asarray(values, np.float64)
            for axis, lists in both
            for k, values in enumerate(lists)
        }
        return {**steps, "absent": self.absent_, "trust": np.array([self.trust_])}

    def set_state(self, n_labels: int, arrays: State) -> Isotonic:
        """Take the steps back."""
        arrays = {"absent": np.zeros(n_labels), "trust": np.ones(1), **arrays}
        lengths = {k: len(arrays.get(f"x.{k}", ())) for k in range(n_labels)}
        shapes = {f"{a}.{k}": (lengths[k],) for a in "xy" for k in lengths}
        check_state("isotonic", {**shapes, "absent": (n_labels,), "trust": (1,)}, arrays)
        self.steps_ = [(arrays[f"x.{k}"], arrays[f"y.{k}"]) for k in range(n_labels)]
        self.absent_, self.trust_ = arrays["absent"], float(arrays["trust"][0])
        for x, y in self.steps_:
            if not len(x) or (np.diff(x) < 0).any() or (y < 0).any() or (y > 1).any():
                raise InputError("isotonic: steps that are out of order or outside 0 to 1")
        return self


CALIBRATORS: dict[str, type[Calibrator]] = {
    kind.name: kind for kind in (Temperature, Vector, Isotonic)
}


def calibrator(name: str) -> Calibrator:
    """Return a new calibrator by name.

    Raises
    ------
    InputError
        If there is no calibrator of that name.
    """
    one_of(name, CALIBRATORS, "calibration")
    return CALIBRATORS[name]()


def _absent(there: np.ndarray, n_labels: int) -> np.ndarray:
    absent = np.ones(n_labels)
    absent[there] = 0
    return absent


def _kept(old: np.ndarray, proba: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Return new probabilities; absent classes keep their old ones."""
    if absent.any():
        away = absent > 0
        proba = np.where(away, 0.0, np.maximum(proba, FLOOR))
        rest = 1 - old[:, away].sum(axis=1, keepdims=True)
        proba = proba / proba.sum(axis=1, keepdims=True) * np.maximum(rest, 0)
        proba[:, away] = old[:, away]
    return distribution(proba)


def _logs(proba: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(proba, FLOOR))
