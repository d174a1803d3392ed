"""Calibrate a member's probabilities on dev, before it is fused.

One over-confident member outshouts the others in every mean and maximum; calibration gives each the
voice that it earned. All calibrators have ``fit(predictions, truth)`` and ``apply(predictions)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from scipy import optimize

from ...cache.errors import InputError, nearest
from ..data.predictions import Predictions
from ..metrics import measures as metrics
from .fixed import FLOOR, State, check_state, distribution


class Calibrator(Protocol):
    """What learns from dev how far probabilities can be believed."""

    name: str

    def fit(
        self, predictions: Predictions, truth: Sequence[str], n_groups: int | None = None
    ) -> Calibrator:
        """Learn from predictions on dev and its true labels, of so many speakers."""
        ...

    def apply(self, predictions: Predictions) -> Predictions:
        """Return calibrated predictions."""
        ...

    def describe(self) -> dict[str, object]:
        """Return what was learnt."""
        ...

    def get_state(self) -> dict[str, np.ndarray]:
        """Return the learnt numbers by name, float64."""
        ...

    def set_state(self, n_labels: int, arrays: State) -> Calibrator:
        """Take the numbers of `get_state` back; `InputError` where they do not fit."""
        ...


ENOUGH_CLIPS, ENOUGH_GROUPS = 200, 10
LARGEST = 4.0  # a temperature beyond this, or below its inverse, comes from too few errors


def trust(n_clips: int, n_groups: int | None = None) -> float:
    """Return how far what dev says is followed, from 0 (not at all) to 1.

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


class Temperature:
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

    def __init__(self):
        self.temperature_ = 1.0

    def fit(
        self, predictions: Predictions, truth: Sequence[str], n_groups: int | None = None
    ) -> Temperature:
        """Find the temperature with the lowest NLL, shrunk towards 1 as `trust` says."""
        codes = metrics.codes(truth, predictions.labels)
        logs = _logs(predictions.proba)
        edge = np.log(LARGEST)
        found: Any = optimize.minimize_scalar(
            lambda t: _loss(logs / np.exp(t), codes), bounds=(-edge, edge), method="bounded"
        )
        self.temperature_ = float(np.exp(found.x * trust(len(codes), n_groups)))
        return self

    def apply(self, predictions: Predictions) -> Predictions:
        """Return the predictions at the learnt temperature."""
        return _replaced(predictions, _logs(predictions.proba) / self.temperature_)

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


class Vector:
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

    def fit(
        self, predictions: Predictions, truth: Sequence[str], n_groups: int | None = None
    ) -> Vector:
        """Find scales and offsets with the lowest penalised NLL, shrunk as `trust` says."""
        codes = metrics.codes(truth, predictions.labels)
        there = np.flatnonzero(np.bincount(codes, minlength=len(predictions.labels)))
        logs = _logs(predictions.proba[:, there])
        codes = np.searchsorted(there, codes)
        n, k = logs.shape
        rows = np.arange(n)
        start = np.r_[np.ones(k), np.zeros(k)]

        def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
            proba = _softmax(logs * theta[:k] + theta[k:])
            residual = proba.copy()
            residual[rows, codes] -= 1
            away = theta - start
            gradient = np.r_[(residual * logs).sum(axis=0), residual.sum(axis=0)] / n
            value = metrics.nll(codes, proba) + self.penalty / 2 * away @ away
            return value, gradient + self.penalty * away

        found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B")
        learnt = start + trust(n, n_groups) * (found.x - start)
        size = len(predictions.labels)
        self.scale_, self.offset_ = np.ones(size), np.zeros(size)
        self.scale_[there], self.offset_[there] = learnt[:k], learnt[k:]
        self.absent_ = _absent(there, size)
        return self

    def apply(self, predictions: Predictions) -> Predictions:
        """Return the predictions with scales and offsets applied."""
        scores = _logs(predictions.proba) * self.scale_ + self.offset_
        return _kept(predictions, _softmax(scores), self.absent_)

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


class Isotonic:
    """A rising step function for each class, then divided by the sum (Zadrozny and Elkan, 2002).

    A class that dev does not have keeps the probability that it had.
    """

    name = "isotonic"

    def __init__(self):
        self.steps_: list[tuple[np.ndarray, np.ndarray]] = []
        self.absent_ = np.empty(0)
        self.trust_ = 1.0

    def fit(
        self, predictions: Predictions, truth: Sequence[str], n_groups: int | None = None
    ) -> Isotonic:
        """Fit an isotonic regression of "is this class" on its probability for each class.

        What it says is mixed with what there was before, as `trust` says.
        """
        from sklearn.isotonic import IsotonicRegression

        codes = metrics.codes(truth, predictions.labels)
        self.steps_ = []
        for k in range(len(predictions.labels)):
            step = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
            step.fit(predictions.proba[:, k], codes == k)
            self.steps_.append((step.X_thresholds_, step.y_thresholds_))
        self.absent_ = _absent(np.unique(codes), len(predictions.labels))
        self.trust_ = trust(len(codes), n_groups)
        return self

    def apply(self, predictions: Predictions) -> Predictions:
        """Return the predictions after the step functions."""
        before = predictions.proba
        columns = [np.interp(before[:, k], x, y) for k, (x, y) in enumerate(self.steps_)]
        scores = distribution(np.maximum(np.stack(columns, axis=1), 1e-6))
        mixed = self.trust_ * scores + (1 - self.trust_) * before
        return _kept(predictions, mixed, self.absent_)

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
                raise InputError("isotonic: steps out of order or outside 0 to 1")
        return self


CALIBRATORS = {"temperature": Temperature, "vector": Vector, "isotonic": Isotonic}


def calibrator(name: str) -> Calibrator:
    """Return a new calibrator by name.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name not in CALIBRATORS:
        raise InputError(
            f"calibration {name!r}; expected one of {', '.join(CALIBRATORS)}."
            f"{nearest(name, CALIBRATORS)}"
        )
    return CALIBRATORS[name]()


def _absent(there: np.ndarray, n_labels: int) -> np.ndarray:
    absent = np.ones(n_labels)
    absent[there] = 0
    return absent


def _kept(predictions: Predictions, proba: np.ndarray, absent: np.ndarray) -> Predictions:
    """Return the predictions with new probabilities; absent classes keep their old ones."""
    if absent.any():
        away = absent > 0
        old = predictions.proba
        proba = np.where(away, 0.0, np.maximum(proba, FLOOR))
        rest = 1 - old[:, away].sum(axis=1, keepdims=True)
        proba = proba / proba.sum(axis=1, keepdims=True) * np.maximum(rest, 0)
        proba[:, away] = old[:, away]
    return _same(predictions, distribution(proba))


def _logs(proba: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(proba, FLOOR))


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _loss(scores: np.ndarray, codes: np.ndarray) -> float:
    return metrics.nll(codes, _softmax(scores))


def _replaced(predictions: Predictions, scores: np.ndarray) -> Predictions:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return _same(predictions, distribution(powers))


def _same(predictions: Predictions, proba: np.ndarray) -> Predictions:
    return Predictions(
        predictions.ids, predictions.labels, proba, hard=predictions.hard, source=predictions.source
    )
