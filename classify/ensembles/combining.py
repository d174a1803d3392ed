"""The strategies by name, and how each is fitted on dev and applied to test.

Dev scores of what learns (weights, calibration) are out of fold: fitted on the other speakers of
dev, so that a strategy cannot be chosen for having learnt dev by heart.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...cache.errors import InputError, one_of
from ..data.estimates import Estimates
from ..data.predictions import Predictions
from ..data.splitting.folds import deal_groups
from ..metrics import measures as metrics
from ..metrics.concordance import mean_ccc
from .asked import asked, named
from .calibration import CALIBRATORS, Calibrator, calibrator
from .fixed_rules import Ensemble
from .saved import Replay
from .subsets import Subset, search

Members = Mapping[str, Predictions]
#: why a system that learns on dev has no dev score
ONE_GROUP = "dev has only one speaker, so it cannot be scored on speakers that it was not fitted on"


@dataclass
class Combined:
    """One system of a comparison: a member, or an ensemble of members.

    Attributes
    ----------
    members, strategy
        What it is made of; strategy is "" for a single member.
    dev
        Its scores on dev (out of fold where it learns); empty without dev, and for what learns
        where dev is one group.
    dev_predictions
        What these scores are of.
    learnt
        What was learnt on dev, for the report.
    replay
        The fitted ensemble; None for a single member.
    """

    test: Predictions
    members: tuple[str, ...]
    strategy: str = ""
    dev: dict[str, Any] = field(default_factory=dict)
    dev_predictions: Predictions | None = None
    learnt: dict[str, object] = field(default_factory=dict)
    replay: Replay | None = None

    def describe(self) -> dict[str, Any]:
        """Return kind, members, dev scores and what was learnt, for JSON."""
        return {
            "kind": "ensemble" if self.strategy else "member",
            "strategy": self.strategy,
            "members": list(self.members),
            "dev": self.dev or None,
            "learnt": self.learnt,
        }


def combine_all(
    test: Members,
    strategies: Sequence[str | Ensemble],
    dev: Members | None = None,
    truth: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    *,
    calibrate: str | None = None,
    calibrate_fused: str | None = None,
    subsets: bool = False,
    folds: Sequence[Container[str]] = (),
    random_state: int = 0,
) -> dict[str, Combined]:
    """Return every member and every strategy, fitted on dev and applied to test.

    Parameters
    ----------
    test, dev
        Predictions of the members, joined: same ids, same labels, same order.
    strategies
        Names of `STRATEGIES`, perhaps with members (``mean of a + b``), or ensembles of your own.
    truth, groups
        Label code, or ratings ``(clips, dimensions)``, and group code of each dev clip.
    calibrate
        Name of a calibrator, fitted for each member on dev.
    calibrate_fused
        Name of a calibrator, fitted on dev for what each ensemble gives.
    subsets
        Also take the subset of members that is best on dev, for each closed-form strategy.
    folds
        Ids of test, fold by fold, where dev joins the dev clips of several folds: what learns
        predicts each fold from dev clips outside of it.
    random_state
        Seed of the folds of dev.
    """
    ensembles = asked(strategies, test)
    needs = [one.name for one in ensembles if one.rule.learns]
    asked_for = {"calibrate": calibrate, "calibrate_fused": calibrate_fused}
    needs += [f"`{option}={name!r}`" for option, name in asked_for.items() if name]
    needs += ["`subsets`"] if subsets else []
    if needs and dev is None:
        verb = "is" if len(needs) == 1 else "are"
        raise InputError(f"{', '.join(needs)} {verb} fitted on dev; expected `dev` predictions")
    for option, name in asked_for.items():
        one_of(name, (None, *CALIBRATORS), option)
    result = {name: Combined(p, (name,)) for name, p in test.items()}
    fitting = None
    if dev is not None:
        fitting = _Dev(dev, truth, groups, calibrate, calibrate_fused, random_state, folds)
    if fitting:
        for name, item in result.items():
            item.dev_predictions = fitting.members[name]
            item.dev = fitting.score(item.dev_predictions)
    for one in ensembles if len(test) > 1 else ():
        chosen = {name: test[name] for name in one.members}
        result[free_name(one.name, result)] = _fit(one.rule, chosen, one.members, fitting)
    if subsets and fitting and len(test) > 1:
        plain, _ = fitting.calibrated(fitting.members)
        fixed = (one.rule for one in ensembles if not (one.rule.learns or one.rule.learnt))
        closed = {rule.name: rule for rule in fixed}
        known = {(one.rule.name, one.members) for one in ensembles}
        for found in search(plain, fitting.truth, [*closed], fitting.folds):
            is_known = (found.strategy, found.members) in known
            if len(found.members) > 1 and not is_known:
                label = free_name(named(found.strategy, found.members), result)
                chosen = {name: test[name] for name in found.members}
                item = _fit(closed[found.strategy], chosen, found.members, fitting)
                item.learnt["subsets_tried"] = found.tried
                fitting.judge(item, fitting.chosen_out_of_fold(closed[found.strategy], found))
                result[label] = item
    return result


def free_name(name: str, taken: Container[str]) -> str:
    """Return the name of an ensemble's system; a member may be called as a strategy is.

    Examples
    --------
    >>> free_name("mean", {"lr"}), free_name("mean", {"mean", "audio"})
    ('mean', 'mean ensemble')
    """
    while name in taken:
        name += " ensemble"
    return name


def _fit(rule: Ensemble, test: Members, members: tuple[str, ...], fitting: _Dev | None) -> Combined:
    labels = next(iter(test.values())).labels
    if fitting is None:
        made = rule.combine(test)
        replay = Replay(rule, members, labels)
        return Combined(made, members, rule.name, learnt=rule.describe(), replay=replay)
    dev = {member: fitting.members[member] for member in members}
    calibrated, calibrators = fitting.calibrated(dev)
    rule.fit(calibrated, fitting.names)
    learnt = rule.describe()
    learns = rule.learns or bool(calibrators)
    if calibrators:
        learnt["calibration"] = {m: c.describe() for m, c in calibrators.items()}
    if learns and fitting.tested:
        made = fitting.by_test_fold(rule, dev, test)
    else:
        ready = {m: calibrators[m].apply(p) if calibrators else p for m, p in test.items()}
        made = rule.combine(ready)
    on_dev = fitting.out_of_fold(rule, dev) if learns else rule.combine(dev)
    fused = fitting.fused(on_dev)
    if fused and on_dev is not None:
        made = fitting.after_fusion(rule, dev, made) if fitting.tested else fused.apply(made)
        learnt["calibration_fused"] = fused.describe()
    item = Combined(made, members, rule.name, learnt=learnt)
    item.replay = Replay(rule, members, labels, calibrators, fused)
    fitting.judge(item, on_dev)
    return item


class _Dev:
    """Dev predictions with what is needed to learn and score on them."""

    def __init__(
        self,
        members: Members,
        truth: np.ndarray | None,
        groups: np.ndarray | None,
        calibrate: str | None,
        calibrate_fused: str | None,
        random_state: int,
        tested: Sequence[Container[str]] = (),
    ):
        if truth is None:
            raise InputError("dev predictions without their true labels; expected both")
        first = next(iter(members.values()))
        self.of_numbers = isinstance(first, Estimates)
        self.members, self.truth, self.calibrate = members, truth, calibrate
        self.calibrate_fused, self.tested = calibrate_fused, tested
        self._fitted: dict[bytes, dict[str, Calibrator]] = {}  # by rows of dev, and member
        self.names = [*truth] if self.of_numbers else [first.labels[code] for code in truth]
        groups = self.groups = np.arange(len(truth)) if groups is None else groups
        n_folds = min(5, len(np.unique(groups)))
        self.folds = np.zeros(len(truth), dtype=int)
        if n_folds > 1:
            alike = np.zeros(len(truth), int) if self.of_numbers else truth
            self.folds = deal_groups(alike, groups, [1 / n_folds] * n_folds, str(random_state))

    def judge(self, item: Combined, predictions: Predictions | None) -> None:
        """Give a system its dev scores; none where it would be scored on what it learnt from."""
        if predictions is not None and item.strategy and self.calibrate_fused:
            predictions = self._fused_out_of_fold(predictions)
        item.dev = {} if predictions is None else self.score(predictions)
        item.dev_predictions = predictions
        if predictions is None:
            item.learnt["not_eligible"] = ONE_GROUP

    def score(self, predictions: Predictions) -> dict[str, float]:
        if self.of_numbers:
            return {"ccc": mean_ccc(self.truth, predictions.proba)}
        matrix = metrics.confusion_of_codes(self.truth, predictions.codes, len(predictions.labels))
        return {**metrics.summary(matrix), "nll": metrics.nll(self.truth, predictions.proba)}

    def calibrated(
        self, members: Members, rows: np.ndarray | None = None
    ) -> tuple[Members, dict[str, Calibrator]]:
        """Apply to each member the calibrator fitted on these rows of dev, once for all rules."""
        if not self.calibrate:
            return members, {}
        rows = np.arange(len(self.names)) if rows is None else rows
        known = self._fitted.setdefault(rows.tobytes(), {})
        if absent := members.keys() - known.keys():
            names = [self.names[row] for row in rows]
            for m in absent:
                known[m] = calibrator(self.calibrate).fit(members[m], names, self.groups[rows])
        return {m: known[m].apply(p) for m, p in members.items()}, {m: known[m] for m in members}

    def fused(self, on_dev: Predictions | None, rows: np.ndarray | None = None) -> Any:
        """Fit a calibrator on an ensemble's predictions of (rows of) dev; None if not requested."""
        if not self.calibrate_fused or on_dev is None:
            return None
        rows = np.arange(len(self.names)) if rows is None else rows
        names = [self.names[row] for row in rows]
        return calibrator(self.calibrate_fused).fit(on_dev.take(rows), names, self.groups[rows])

    def _fused_out_of_fold(self, on_dev: Predictions) -> Predictions | None:
        if not self.folds.any():
            return None
        proba = np.empty_like(on_dev.proba)
        for inside, outside in self._folds_among(np.arange(len(self.names))):
            proba[inside] = self.fused(on_dev, outside).apply(on_dev.take(inside)).proba
        return Predictions(on_dev.ids, on_dev.labels, proba)

    def after_fusion(self, rule: Ensemble, dev: Members, made: Predictions) -> Predictions:
        """Calibrate each fold of test by what the rule gives on dev clips outside of it."""
        proba = made.proba.copy()
        for inside, outside in self._test_folds(made.ids, next(iter(dev.values())).ids):
            on_dev = self._by_parts(rule, dev, dev, self._folds_among(outside))
            proba[inside] = self.fused(on_dev, outside).apply(made.take(inside)).proba
        return Predictions(made.ids, made.labels, proba)

    def chosen_out_of_fold(self, rule: Ensemble, found: Subset) -> Predictions | None:
        """Predict each fold of dev by the subset that is best on the others."""
        if len(found.by_fold) < 2:
            return None
        first = next(iter(self.members.values()))
        proba = np.empty_like(first.proba)
        scored: dict[tuple[str, ...], Predictions | None] = {}
        for fold, names in enumerate(found.by_fold):
            if names not in scored:
                members = {name: self.members[name] for name in names}
                scored[names] = (
                    self.out_of_fold(rule, members) if self.calibrate else rule.combine(members)
                )
            if (item := scored[names]) is None:
                return None
            proba[self.folds == fold] = item.proba[self.folds == fold]
        return Predictions(first.ids, first.labels, proba)

    def out_of_fold(self, rule: Ensemble, members: Members) -> Predictions | None:
        """Predict each fold of dev by what was fitted on the others; None with one fold."""
        if not self.folds.any():
            return None
        every = np.arange(len(self.names))
        return self._by_parts(rule, members, members, self._folds_among(every))

    def by_test_fold(self, rule: Ensemble, dev: Members, test: Members) -> Predictions:
        """Predict each fold of test by what was fitted on the dev clips that are not in it."""
        ids, dev_ids = (next(iter(one.values())).ids for one in (test, dev))
        return self._by_parts(rule, dev, test, self._test_folds(ids, dev_ids))

    def _folds_among(self, rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return for each fold of dev which of these rows are in it, and which are not."""
        folds = self.folds[rows]
        return [(rows[folds == n], rows[folds != n]) for n in sorted(set(folds))]

    def _test_folds(
        self, ids: Sequence[str], dev_ids: Sequence[str]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return for each fold its rows of test, and the rows of dev that are not in it."""
        return [
            (
                np.flatnonzero([name in fold for name in ids]),
                np.flatnonzero([name not in fold for name in dev_ids]),
            )
            for fold in self.tested
        ]

    def _by_parts(
        self,
        rule: Ensemble,
        dev: Members,
        asked: Members,
        parts: Sequence[tuple[np.ndarray, np.ndarray]],
    ) -> Predictions:
        """Predict rows of `asked`, part by part, from rows of dev."""
        first = next(iter(asked.values()))
        proba = first.proba.copy()  # rows in no part stay as they are
        for inside, outside in parts:
            if not len(inside):
                continue
            learn = {m: p.take(outside) for m, p in dev.items()}
            learn, calibrators = self.calibrated(learn, outside)
            fresh = deepcopy(rule).fit(learn, [self.names[row] for row in outside])
            apply = {m: p.take(inside) for m, p in asked.items()}
            if calibrators:
                apply = {m: calibrators[m].apply(p) for m, p in apply.items()}
            proba[inside] = fresh.combine(apply).proba
        return type(first)(first.ids, first.labels, proba)
