"""Ensembles that learn on dev: weights, a stacked model, greedy selection; all rules by name.

They combine numbers too, and then learn weights for each dimension (`number_weights`).

What they score on the clips that they were fitted on is worth nothing; `strategies` scores them on
dev out of fold, speakers kept together, before they may be chosen.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from scipy.special import log_softmax

from ...cache.errors import InputError, expected_one_of, nearest, one_of
from ..data.estimates import Estimates
from ..data.predictions import Predictions
from ..metrics import measures as metrics
from ..metrics.concordance import mean_ccc
from .fixed_rules import (
    FLOOR,
    Ensemble,
    GeometricEnsemble,
    MaxEnsemble,
    MeanEnsemble,
    MedianEnsemble,
    RankEnsemble,
    Truth,
    VoteEnsemble,
    joined,
    truth_codes,
)
from .number_weights import convex_weights, rated_values, stacked_weights


class WeightedEnsemble(Ensemble):
    """A weighted mean of probabilities; the weights are given, or maximise the likelihood of dev.

    The likelihood of a mixture is concave in its weights; they are found by expectation
    maximisation from equal weights (Jacobs et al., 1991). The weights of numbers are those of least
    squared error on dev, for each dimension.

    Parameters
    ----------
    weights
        Weight of each member, or None to learn them.

    Examples
    --------
    >>> members = {"a": Predictions(["1"], ["x", "y"], [[1, 0]]),
    ...            "b": Predictions(["1"], ["x", "y"], [[0, 1]])}
    >>> WeightedEnsemble({"a": 3, "b": 1}).combine(members).proba.tolist()
    [[0.75, 0.25]]
    """

    name = "weighted"
    learns = True
    of_numbers = True
    learnt: ClassVar = {"weights": "members"}

    def __init__(self, weights: Mapping[str, float] | None = None):
        self.weights = dict(weights) if weights is not None else None
        self.learns = weights is None
        self.weights_ = np.empty(0)
        if weights is not None:
            values = np.array(list(weights.values()), dtype=float)
            if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
                raise InputError(
                    f"ensemble weights {dict(weights)}; expected numbers of at least 0, not all 0"
                )

    def fit(self, members: Mapping[str, Predictions], truth: Truth) -> WeightedEnsemble:
        """Learn the weights, unless they were given."""
        first, stack = joined(members)
        if self.weights is not None:
            self._take(sorted(members), self.weights)
            return self
        self.names_ = sorted(members)
        if isinstance(first, Estimates):
            self.weights_ = convex_weights(stack, rated_values(truth, first))
        else:
            self.weights_ = mixture_weights(stack, truth_codes(truth, first))
        return self

    def _take(self, names: Sequence[str], weights: Mapping[str, float]) -> None:
        unknown = sorted({*weights} - {*names})
        if unknown or {*names} - {*weights}:
            raise InputError(
                f"ensemble weights for {sorted(weights)}, members {names}; expected one "
                f"weight for each.{nearest(unknown[0], names) if unknown else ''}"
            )
        values = np.array([weights[name] for name in names], dtype=float)
        self.names_, self.weights_ = names, values / values.sum()

    def _ready_for(self, names: Sequence[str]) -> None:
        if self.weights is not None:  # they need no `fit`
            self._take(names, self.weights)
        super()._ready_for(names)

    def combine(self, members: Mapping[str, Predictions]) -> Predictions:
        """Return the ensemble's predictions."""
        scores, first = self.scores(members), next(iter(members.values()))
        return type(first)(first.ids, first.labels, scores, source="weighted")

    def rule(self, stack: np.ndarray) -> np.ndarray:
        """Return the weighted mean over members."""
        return np.einsum("m...,mn...->n...", self.weights_, stack)


class GreedyEnsemble(WeightedEnsemble):
    """Greedy selection with replacement (Caruana et al., 2004); weights are counts of taking.

    Each step adds the member that gives the mean the highest UAR on dev, then the lowest NLL, then
    the first name; the shortest prefix with the best UAR is kept. Numbers are selected by CCC.

    Parameters
    ----------
    n_steps
        How many members are taken, with replacement.
    """

    name = "greedy"

    def __init__(self, n_steps: int = 25):
        super().__init__(None)
        self.n_steps = n_steps

    def fit(self, members: Mapping[str, Predictions], truth: Truth) -> GreedyEnsemble:
        """Take members one after the other."""
        first, stack = joined(members)
        score = _scored(truth, first)
        self.names_ = sorted(members)
        running = np.zeros(stack.shape[1:])
        taken: list[int] = []
        best: tuple[float, float] = (-1.0, 0.0)
        kept = 0
        for step in range(self.n_steps):
            scored = []
            for index, member in enumerate(stack):
                scored.append((*score((running + member) / (step + 1)), -index))
            lead, tie, index = max(scored)
            taken.append(-index)
            running += stack[-index]
            if (lead, tie) > best:
                best, kept = (lead, tie), step + 1
        counts = Counter(taken[:kept])
        self.weights_ = np.array([counts[i] for i in range(len(stack))]) / kept
        return self


def _scored(truth: Truth, first: Predictions) -> Callable[[np.ndarray], tuple[float, float]]:
    """Return what scores a mean on dev: UAR and then likelihood, or the mean CCC of numbers."""
    if isinstance(first, Estimates):
        ratings = rated_values(truth, first)
        return lambda mean: (round(float(np.nan_to_num(mean_ccc(ratings, mean))), 12), 0.0)
    codes, n_labels = truth_codes(truth, first), len(first.labels)

    def score(mean: np.ndarray) -> tuple[float, float]:
        matrix = metrics.confusion_of_codes(codes, mean.argmax(axis=1), n_labels)
        return round(metrics.summary(matrix)["uar"], 12), -round(metrics.nll(codes, mean), 12)

    return score


class StackingEnsemble(Ensemble):
    """Multinomial logistic regression on the members' log-probabilities (Wolpert, 1992).

    Each member has one weight, as in a weighted geometric mean, and each class one offset: few
    enough numbers for a small dev. The penalty pulls the weights to 1 / members, the geometric
    mean. A class that dev does not have takes no part in the fit and has no offset: else it would
    never be predicted again.

    Of numbers it is a ridge regression for each dimension, with a weight of at least 0 for each
    member and one offset, whose result gets the mean and the spread of dev's ratings: the CCC
    rises, and absolute errors may grow. `WeightedEnsemble` keeps errors small.

    Parameters
    ----------
    penalty
        Strength of the pull, per clip of dev; by default 0.01, of numbers 0.1.
    class_weight : "balanced" or None
        Whether all classes count equally, as in UAR and in the training of heads, or all clips of
        dev: then frequent classes are predicted more often, which accuracy rewards.
    """

    name = "stacking"
    learns = True
    of_numbers = True
    learnt: ClassVar = {"weights": "members", "offsets": "labels"}

    def __init__(self, penalty: float | None = None, class_weight: str | None = "balanced"):
        one_of(class_weight, ("balanced", None), "class_weight")
        if penalty is not None and not 0 <= penalty < math.inf:
            raise InputError(f"`penalty={penalty!r}`; expected a number of at least 0")
        self.penalty, self.class_weight = penalty, class_weight
        self.weights_ = np.empty(0)
        self.offsets_ = np.empty(0)

    def fit(self, members: Mapping[str, Predictions], truth: Truth) -> StackingEnsemble:
        """Learn member weights and offsets: by maximum likelihood, of numbers by least squares."""
        first, stack = joined(members)
        self.names_ = sorted(members)
        if isinstance(first, Estimates):
            penalty = 0.1 if self.penalty is None else self.penalty
            self.weights_, self.offsets_ = stacked_weights(
                stack, rated_values(truth, first), penalty
            )
        else:
            self._fit_labels(stack, truth, first)
        return self

    def _fit_labels(self, stack: np.ndarray, truth: Truth, first: Predictions) -> None:
        from scipy import optimize  # a third of a second, which --check does not need

        penalty = 0.01 if self.penalty is None else self.penalty
        there, codes = np.unique(truth_codes(truth, first), return_inverse=True)
        logs = np.log(np.maximum(stack[:, :, there], FLOOR))
        n_members, n_clips, n_labels = logs.shape
        start = np.r_[np.full(n_members, 1 / n_members), np.zeros(n_labels)]
        rows = np.arange(n_clips)
        weight = np.ones(n_clips)
        if self.class_weight:
            weight = n_clips / n_labels / np.bincount(codes)[codes]

        def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
            scores = np.einsum("m,mnk->nk", theta[:n_members], logs) + theta[n_members:]
            log_proba = log_softmax(scores, axis=1)
            residual = np.exp(log_proba)
            residual[rows, codes] -= 1
            residual *= weight[:, None]
            gradient = np.r_[np.einsum("nk,mnk->m", residual, logs), residual.sum(axis=0)] / n_clips
            away = theta - start
            value = -(weight * log_proba[rows, codes]).mean() + penalty / 2 * away @ away
            return float(value), gradient + penalty * away

        found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B")
        self.weights_, self.offsets_ = found.x[:n_members], np.zeros(len(first.labels))
        self.offsets_[there] = found.x[n_members:]

    def rule(self, stack: np.ndarray) -> np.ndarray:
        """Return the stacked model's probabilities, or numbers."""
        if self.weights_.ndim == 2:  # fitted on numbers
            return np.einsum("mk,mnk->nk", self.weights_, stack) + self.offsets_
        logs = np.log(np.maximum(stack, FLOOR))
        scores = np.einsum("m,mnk->nk", self.weights_, logs) + self.offsets_
        return np.exp(log_softmax(scores, axis=1))


def mixture_weights(stack: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the member weights that maximise the likelihood of the mixture, `(members,)`.

    Parameters
    ----------
    stack
        Probabilities, `(members, clips, labels)`.
    truth
        Label code of each clip.
    """
    own = np.maximum(stack[:, np.arange(len(truth)), truth], FLOOR)
    weights = np.full(len(stack), 1 / len(stack))
    for _ in range(500):  # steps of expectation maximisation; it stops when nothing moves
        share = weights[:, None] * own
        new = (share / share.sum(axis=0)).mean(axis=1)
        moved = np.abs(new - weights).max()
        weights = new
        if moved < 1e-9:
            break
    return weights / weights.sum()


#: the rules that combine members, by name
STRATEGIES: dict[str, type[Ensemble]] = {
    kind.name: kind
    for kind in (
        MeanEnsemble,
        MaxEnsemble,
        WeightedEnsemble,
        GeometricEnsemble,
        MedianEnsemble,
        VoteEnsemble,
        RankEnsemble,
        StackingEnsemble,
        GreedyEnsemble,
    )
}


def strategy(name: str) -> Ensemble:
    """Return a new ensemble by the name of its rule.

    Raises
    ------
    InputError
        If there is no rule of that name.

    Examples
    --------
    >>> strategy("mean")
    <MeanEnsemble>
    """
    if name not in STRATEGIES:
        raise InputError(f"unknown ensemble {name!r}; {expected_one_of(name, STRATEGIES)}")
    return STRATEGIES[name]()
