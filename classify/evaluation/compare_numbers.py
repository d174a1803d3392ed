"""Compare systems that predict numbers: chosen on dev by CCC, scored on test with intervals.

The result is a `Comparison` as that of labels is; ``measure`` in its data is "ccc". A single
value for a system (``ccc``, ``pearson``, ``error``) is the mean over dimensions, errors as a share
of the scale's range; ``dimensions`` holds each on its own scale.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...cache.errors import InputError
from ..data.estimates import Estimates
from ..data.predictions import Predictions
from ..ensembles.asked import asked, not_of_numbers
from ..ensembles.combining import Combined
from ..metrics.bootstrap import FEWEST_GROUPS
from ..metrics.concordance import MEASURES, Measured, max_t_ccc, shares_of_ccc
from ..metrics.max_t import MaxT, allow_for_unseen
from ..metrics.scored_clips import Rated
from .scores.dev_choice import N_DRAWS, choose
from .scores.pair_tests import pairs_of
from .scores.rater_scores import compare_raters
from .scores.scoring import by_value, left_out, means_over_values
from .scores.verdicts import verdict_of_pair
from .scores.within_values import correct_for_values, differences
from .stages import EVERY, Stages, mean_of_all


class Numbers(Stages[Rated]):
    """What is done with numbers.

    Raises
    ------
    InputError
        An ensemble that needs class probabilities.
    """

    kind, measure, tie, of_group = Rated, "ccc", "error", "error"
    usual = ("mean",)
    drawn: Measured
    on_dev: Measured

    def combine(self) -> dict[str, Combined]:
        """Return members and ensembles, fitted on dev and applied to test."""
        for one in asked(self.options.strategies or (), self.test.members):
            if why := not_of_numbers(one, self.task.name):
                raise InputError(why)
        return super().combine()

    def choice(self) -> dict[str, Any] | None:
        """Give each system its scores on dev, and choose one; None without dev."""
        if self.tuning is None:
            return None
        self.on_dev = self._measured_on_dev()
        for name, found in self.on_dev.estimates.items():
            each = {one: float(found["ccc"][at]) for at, one in enumerate(self.task.labels)}
            means = {one: float(found[one][-1]) for one in MEASURES}
            self.combined[name].dev = {**means, "dimensions": each}
        return super().choice()

    def _measured_on_dev(self, rows: np.ndarray | slice = EVERY) -> Measured:
        """Return the measures of each system on dev, and in draws of its groups."""
        tuning: Any = self.tuning
        found = {name: item.dev_predictions for name, item in self.combined.items()}
        systems = {name: one for name, one in found.items() if one}
        seed, codes = self.options.random_state, tuning.groups[rows]
        groups = codes if np.ptp(codes) else np.arange(len(codes))  # of one speaker, the clips
        return tuning.measured(systems, groups, rows, n_resamples=N_DRAWS, random_state=seed)

    def choose(self, best: str | None, rows: np.ndarray | slice = EVERY) -> dict[str, Any]:
        """Choose by the mean CCC on some rows of dev."""
        tuning: Any = self.tuning
        drawn = self.on_dev if best else self._measured_on_dev(rows)
        scores = {name: one["ccc"][:, -1] for name, one in drawn.samples.items()}
        whole = {name: float(one["ccc"][-1]) for name, one in drawn.estimates.items()}
        groups = len(np.unique(tuning.groups[rows]))
        return choose(best, mean_of_all(self.combined), scores, whole, groups)

    def draw(self) -> None:
        """Measure the systems on test, and on draws of its groups."""
        pooled, draws = self.joined.pooled(), self.options.draws
        self.drawn = self.test.measured(self.systems, self.test.groups, pooled=pooled, **draws)

    def answers(self, name: str) -> np.ndarray:
        """Return what a system predicts for the test clips, `(clips, dimensions)`."""
        return self.systems[name].proba

    def score_of(self, answers: np.ndarray) -> dict[str, Any]:
        """Return the mean CCC of such answers, with its interval."""
        given = {"": Estimates(self.test.clips.ids, self.task.labels, answers)}
        drawn = self.test.measured(given, self.test.groups, pooled=True, **self.options.draws)
        return drawn.score("", "ccc", level=self.options.level)

    def about_groups(self) -> dict[str, Any]:
        """Return how many groups of test there are, and how many they are worth."""
        return {"count": self.drawn.groups, "effective": self.drawn.effective}

    def score_group(self, rows: np.ndarray, one: Predictions) -> float:
        """Return the error on these clips, as a share of the range."""
        ranges = np.array([scale.range for scale in self.task.scales.values()])
        return float(np.nanmean(np.abs(one.proba[rows] - self.test.ratings[rows]) / ranges))

    def scores(self, name: str) -> dict[str, Any]:
        """Return every measure of one system, over all dimensions and for each."""
        found, sums = self._measures(self.drawn, name), self.drawn.sums[name].sum(axis=0)
        for at, one in enumerate(found["dimensions"].values()):
            n, x, y, xx, yy = (float(sum_) for sum_ in sums[at, :5])
            spread = [
                math.sqrt(max(q / n - (s / n) ** 2, 0)) if n else 0 for q, s in ((xx, x), (yy, y))
            ]
            one["clips"] = int(n)
            one["bias"] = (y - x) / n if n else None
            one["spread"] = spread[1] / spread[0] if spread[0] else None
        return found

    def _measures(self, drawn: Measured, name: str) -> dict[str, Any]:
        """Return the measures of one system: their means over dimensions, and those of each."""

        def measured(at: int) -> dict[str, Any]:
            return {key: drawn.score(name, key, at, self.options.level) for key in MEASURES}

        each = {dimension: measured(at) for at, dimension in enumerate(self.task.labels)}
        return {**measured(-1), "dimensions": each}

    def pairs(self, first: str | None) -> list[dict[str, Any]]:
        """Test pairs of systems on CCC by exchanging whole groups, corrected over all of them."""
        drawn, level = self.drawn, self.options.level
        family = pairs_of(drawn.sums, first)
        if not family:
            return []
        tested = drawn.groups >= FEWEST_GROUPS
        found = self._exchange(drawn, family)
        rows = []
        for at, (a, b) in enumerate(family):
            gap, span = drawn.difference(a, b, level)
            errors = [_group_errors(drawn, name) for name in (a, b)]
            p, corrected = (
                float(x[at]) if tested else math.nan for x in (found.p, found.corrected)
            )
            row = {
                "a": a,
                "b": b,
                "ccc_a": float(drawn.estimates[a]["ccc"][-1]),
                "ccc_b": float(drawn.estimates[b]["ccc"][-1]),
                "ccc_difference": gap,
                "ccc_difference_interval": list(span),
                "p_ccc": p,
                "p_ccc_corrected": corrected,
                "permutation_exact": found.exact,
                "groups": drawn.groups,
                "groups_a_better": int((errors[0] < errors[1] - 1e-9).sum()),
                "groups_b_better": int((errors[1] < errors[0] - 1e-9).sum()),
                "clips": len(self.test.clips),
                "different": bool(tested and corrected < 1 - level),
            }
            rows.append({**row, "sentence": verdict_of_pair(row, "ccc")})
        return rows

    def _exchange(self, drawn: Measured, family: list[tuple[str, str]]) -> MaxT:
        """Test a family of pairs by exchanging whole groups."""
        return allow_for_unseen(
            max_t_ccc(drawn.sums, family, random_state=self.options.random_state),
            *shares_of_ccc(drawn, family),
        )

    def by(self, column: str) -> dict[str, Any]:
        """Score every system within each value of a column, and the mean over values."""
        joined, systems, options = self.joined, self.systems, self.options
        asked = pairs_of(sorted(systems), self.pairs_of)

        def measured(at: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
            pooled = joined.pooled(at)
            drawn = self.test.measured(systems, groups, at, pooled=pooled, **options.draws)
            own = {name: self._measures(drawn, name) for name in systems}
            compared: list[dict[str, Any]] = []
            if asked and drawn.groups >= FEWEST_GROUPS:
                gaps = (drawn.difference(a, b, options.level) for a, b in asked)
                compared = differences(asked, self._exchange(drawn, asked), gaps)
            return {"groups": drawn.groups, "systems": own, "differences": compared}

        rows = by_value(joined, column, measured)
        correct_for_values(rows)
        pooled = left_out(column, joined.folds)
        means = means_over_values(rows, MEASURES, options.level, bounds=(-1.0, 1.0), pooled=pooled)
        return {"values": rows, **means}

    def analyses(self, seeds: Any) -> dict[str, Any]:
        """Return how far raters agree, where the task names them."""
        level, pooled = self.options.level, self.joined.pooled()
        draws = self.options.draws
        found = compare_raters(self.test, self.systems, level=level, pooled=pooled, **draws)
        return {"raters": found} if found else {}


def _group_errors(drawn: Measured, name: str) -> np.ndarray:
    """Return the mean absolute error of each group, as a share of the range, `(groups,)`."""
    sums = drawn.sums[name]
    clips = np.maximum(sums[:, :, 0], 1)
    return (sums[:, :, 6] / clips / drawn.ranges).mean(axis=1)
