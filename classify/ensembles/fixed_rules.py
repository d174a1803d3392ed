"""Ensembles that need no fitting: each combines the members' probabilities by a fixed rule.

Members are joined by id and by label name, in the order of their names, so that neither the order
of rows, of columns nor of members can move the last digit. `scores` gives the raw numbers of the
rule; `combine` divides them by their sum, which keeps the winner. **Ties** go to the first label in
task order; `vote` and `rank` first compare the mean probability.

An ensemble is any object with ``fit(members, truth)``, ``scores(members)`` and
``combine(members)``; those that learn from dev are in `fitted_rules`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ...cache.errors import InputError
from ..data.estimates import Estimates
from ..data.predictions import Predictions
from ..metrics.measures import codes

Truth = Sequence[str] | Sequence[Sequence[float]] | np.ndarray
FLOOR = 1e-12
TIE = 1e-6


class Ensemble(ABC):
    """A rule that makes one prediction of several.

    Attributes
    ----------
    name
        What reports call the rule.
    learns
        Whether `fit` looks at the truth of dev.
    of_numbers
        Whether it also combines numbers, which are not probabilities.
    learnt
        What it learns, and whether there is one number for each of the "members" or "labels":
        ``weights`` is the attribute `weights_`. What is learnt of members may be `(members,
        dimensions)` where numbers are combined.
    """

    name = ""
    learns = False
    of_numbers = False
    learnt: ClassVar[Mapping[str, str]] = {}
    names_: Sequence[str] = ()  # of the members that it was fitted on

    def fit(self, members: Mapping[str, Predictions], truth: Truth) -> Ensemble:
        """Learn from the members' predictions on dev and its truth; fixed rules need none.

        The truth is the label of each clip, or its ratings, `(clips, dimensions)`.
        """
        return self

    @abstractmethod
    def rule(self, stack: np.ndarray) -> np.ndarray:
        """Return scores `(clips, labels)` of probabilities `(members, clips, labels)`."""

    def scores(self, members: Mapping[str, Predictions]) -> np.ndarray:
        """Return the raw scores of the rule, `(clips, labels)`; not always distributions."""
        _, stack = joined(members)
        self._ready_for(sorted(members))
        return self.rule(stack)

    def _ready_for(self, names: Sequence[str]) -> None:
        """Refuse members other than those of `fit`."""
        if self.learnt and list(self.names_) != names:
            raise InputError(
                f"ensemble {self.name!r} was fitted on {list(self.names_) or 'nothing'}, not on "
                f"{names}; fit it on dev with the same members first"
            )

    def combine(self, members: Mapping[str, Predictions]) -> Predictions:
        """Return the ensemble's predictions, in the rows and columns of the first member.

        Raises
        ------
        InputError
            If the members do not have the same ids and labels.
        """
        found = self.scores(members)
        first = next(iter(members.values()))
        kind = type(first)
        made = distribution(found) if kind is Predictions else found
        return kind(first.ids, first.labels, made, source=f"ensemble {self.name}")

    def __repr__(self) -> str:
        fitted = f" fitted on {', '.join(self.names_)}" if self.names_ else ", not fitted"
        return f"<{type(self).__name__}{fitted if self.learnt else ''}>"

    def describe(self) -> dict[str, object]:
        """Return what was learnt, for the report; of the labels in task order."""
        found = {name: values.tolist() for name, values in self.get_state().items()}
        return {
            name: dict(zip(self.names_, values, strict=True))
            if self.learnt[name] == "members"
            else values
            for name, values in found.items()
        }

    def get_state(self) -> dict[str, np.ndarray]:
        """Return the learnt numbers by name, float64; none where nothing is learnt.

        Those of the members are in the order of their names.
        """
        return {name: np.asarray(getattr(self, f"{name}_"), np.float64) for name in self.learnt}

    def set_state(self, members: Sequence[str], n_labels: int, arrays: State) -> Ensemble:
        """Take the numbers of `get_state` back, for these members.

        Raises
        ------
        InputError
            A number is missing, unknown, of another shape, or not finite.
        """
        sizes = {"members": len(members), "labels": n_labels}
        shapes: dict[str, tuple[int, ...]]
        shapes = {name: (sizes[each],) for name, each in self.learnt.items()}
        for name, each in self.learnt.items():
            if self.of_numbers and each == "members" and np.ndim(arrays.get(name, 0)) == 2:
                shapes[name] = (len(members), n_labels)
        check_state(self.name, shapes, arrays)
        self.names_ = sorted(members)
        for name in self.learnt:
            setattr(self, f"{name}_", arrays[name])
        return self


State = Mapping[str, np.ndarray]


def check_state(name: str, shapes: Mapping[str, tuple[int, ...]], arrays: State) -> None:
    """Refuse arrays that are not the finite float64 ones of `shapes`."""
    for key in sorted({*arrays} ^ {*shapes}):
        what = "missing" if key in shapes else "unknown"
        raise InputError(f"{name}: the tensor {key!r} is {what}; expected {sorted(shapes)}")
    for key, shape in shapes.items():
        found = arrays[key]
        if found.dtype != np.float64 or found.shape != shape or not np.isfinite(found).all():
            raise InputError(
                f"{name}: the tensor {key!r} is {found.dtype} {found.shape}; expected finite "
                f"float64 {shape}"
            )


def joined(members: Mapping[str, Predictions]) -> tuple[Predictions, np.ndarray]:
    """Join members by id and label name.

    Returns
    -------
    first
        The first member, whose rows and columns the stack follows.
    stack
        Probabilities `(members, clips, labels)`, members sorted by name.
    """
    check_members(members)
    if not members:
        raise InputError("an ensemble without members; expected at least one")
    first = next(iter(members.values()))
    aligned = [members[name].reorder(first.labels).align(first.ids) for name in sorted(members)]
    return first, np.stack([member.proba for member in aligned])


def check_members(members: Any) -> None:
    """Refuse anything but a mapping of names to predictions."""
    if not isinstance(members, Mapping):
        raise InputError(
            f"the members are of type {type(members).__name__}; expected a dictionary of names and "
            "predictions"
        )
    for name, one in members.items():
        if not isinstance(one, Predictions):
            raise InputError(
                f"member {name!r} is of type {type(one).__name__}, expected Predictions; "
                "Predictions.from_frame makes them of a DataFrame, Predictions.read of a file"
            )


def truth_codes(truth: Truth, predictions: Predictions) -> np.ndarray:
    """Return the position of the true label of each clip of `predictions`, `(clips,)`."""
    if len(truth) != len(predictions):
        raise InputError(
            f"{len(truth)} true labels for {len(predictions)} predictions on dev; expected one for "
            "each, in their order"
        )
    names: Any = truth
    return codes(names, predictions.labels)


def distribution(scores: np.ndarray) -> np.ndarray:
    """Divide scores `(clips, labels)` by their sum; the winner stays the winner.

    Examples
    --------
    >>> distribution(np.array([[1.0, 0.25]])).tolist()
    [[0.8, 0.2]]
    """
    total = np.sort(scores, axis=1).sum(axis=1, keepdims=True)
    proba = scores / total
    winner = scores.argmax(axis=1)
    # Division may round two close scores to one number: lift the winner by one step then.
    tied = np.flatnonzero(proba.argmax(axis=1) != winner)
    proba[tied, winner[tied]] = np.nextafter(proba[tied].max(axis=1), 2)
    return proba


def total(stack: np.ndarray) -> np.ndarray:
    """Sum over members one after the other, as the search over subsets does."""
    result = stack[0].copy()
    for member in stack[1:]:
        result += member
    return result


class MeanEnsemble(Ensemble):
    """The mean of the members' probabilities, class by class (ITST at EmoSPeech 2024).

    Examples
    --------
    >>> text = Predictions(["a"], ["joy", "fear"], [[0.9, 0.1]])
    >>> audio = Predictions(["a"], ["joy", "fear"], [[0.3, 0.7]])
    >>> MeanEnsemble().combine({"text": text, "audio": audio}).proba.round(6).tolist()
    [[0.6, 0.4]]
    """

    name = "mean"
    of_numbers = True

    def rule(self, stack: np.ndarray) -> np.ndarray:
        """Return the mean over members."""
        return total(stack) / len(stack)


class MaxEnsemble(Ensemble):
    """The largest probability of any member, class by class (ITST at EmoSPeech 2024).

    The maxima sum to more than 1; `combine` divides by the sum, with the same winner.

    Examples
    --------
    >>> text = Predictions(["a"], ["joy", "fear"], [[0.9, 0.1]])
    >>> audio = Predictions(["a"], ["joy", "fear"], [[0.4, 0.6]])
    >>> MaxEnsemble().scores({"text": text, "audio": audio}).tolist()
    [[0.9, 0.6]]
    >>> MaxEnsemble().combine({"text": text, "audio": audio}).proba.round(6).tolist()
    [[0.6, 0.4]]
    """

    name = "max"

    def rule(self, stack: np.ndarray) -> np.ndarray:
        """Return the maximum over members."""
        return stack.max(axis=0)


class GeometricEnsemble(Ensemble):
    """The geometric mean of the probabilities: a product of experts; 0 counts as 1e-12.

    Examples
    --------
    >>> a = Predictions(["a"], ["x", "y"], [[0.8, 0.2]])
    >>> b = Predictions(["a"], ["x", "y"], [[0.5, 0.5]])
    >>> GeometricEnsemble().combine({"a": a, "b": b}).proba.round(4).tolist()
    [[0.6667, 0.3333]]
    """

    name = "geometric"

    def rule(self, stack: np.ndarray) -> np.ndarray:
        """Return the exponential of the mean logarithm."""
        return np.exp(total(np.log(np.maximum(stack, FLOOR))) / len(stack))


class MedianEnsemble(Ensemble):
    """The median of the probabilities, class by class; one outlying member cannot move it far.

    Examples
    --------
    >>> members = {n: Predictions(["a"], ["x", "y"], [[p, 1 - p]])
    ...            for n, p in [("a", 0.1), ("b", 0.75), ("c", 0.8)]}
    >>> MedianEnsemble().combine(members).proba.tolist()
    [[0.75, 0.25]]
    """

    name = "median"
    of_numbers = True

    def rule(self, stack: np.ndarray) -> np.ndarray:
        """Return the median over members."""
        return np.median(stack, axis=0)

    def scores(self, members: Mapping[str, Predictions]) -> np.ndarray:
        """Return the medians; of probabilities with a floor that keeps their sum above 0."""
        found = super().scores(members)
        of_numbers = all(isinstance(one, Estimates) for one in members.values())
        return found if of_numbers else np.maximum(found, FLOOR)


class VoteEnsemble(Ensemble):
    """One vote per member for its most probable label; ties go to the larger mean probability.

    Examples
    --------
    >>> members = {n: Predictions(["a"], ["x", "y"], [[p, 1 - p]])
    ...            for n, p in [("a", 0.1), ("b", 0.6), ("c", 0.6)]}
    >>> VoteEnsemble().combine(members).label
    ['x']
    """

    name = "vote"

    def rule(self, stack: np.ndarray) -> np.ndarray:
        """Return the share of votes, with the mean probability as a trace that breaks ties."""
        return (total(votes(stack)) + TIE * total(stack)) / len(stack)


class RankEnsemble(Ensemble):
    """The mean rank of each label within its member (Borda count); ties as for votes.

    The last label of a member has rank 0, the first `labels - 1`; equal probabilities share.

    Examples
    --------
    >>> members = {"a": Predictions(["a"], ["x", "y", "z"], [[0.5, 0.3, 0.2]])}
    >>> RankEnsemble().scores(members).round(3).tolist()
    [[2.0, 1.0, 0.0]]
    """

    name = "rank"

    def rule(self, stack: np.ndarray) -> np.ndarray:
        """Return the mean rank, with the mean probability as a trace that breaks ties."""
        return (total(ranks(stack)) + TIE * total(stack)) / len(stack)


def votes(stack: np.ndarray) -> np.ndarray:
    """Return 1 at each member's most probable label and 0 elsewhere, in the shape of `stack`."""
    return (np.arange(stack.shape[2]) == stack.argmax(axis=2)[..., None]).astype(float)


def ranks(stack: np.ndarray) -> np.ndarray:
    """Return how many labels each label beats within its member; equal ones count half."""
    below = np.zeros_like(stack)
    for other in range(stack.shape[2]):
        rival = stack[..., other : other + 1]
        below += (stack > rival) + 0.5 * (stack == rival)
    return below - 0.5
