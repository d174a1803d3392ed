"""Compare systems that predict numbers: chosen on dev by CCC, scored on test with intervals.

The result is a `Comparison` as that of labels is; ``measure`` in its data is "ccc". A single
value for a system (``ccc``, ``pearson``, ``error``) is the mean over dimensions, errors as a share
of the scale's range; ``dimensions`` holds each on its own scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from ...cache.errors import InputError
from ..data.estimates import Estimates
from ..data.predictions import Predictions
from ..data.splitting.findings import ranked, split_warnings
from ..ensembles.combining import Combined, free_name
from ..ensembles.fitted_rules import STRATEGIES, strategy
from ..ensembles.saved import Replay
from ..metrics.bootstrap import FEWEST_GROUPS
from ..metrics.concordance import MEASURES, Measured, max_t_ccc, shares_of_ccc
from ..metrics.max_t import allow_for_unseen
from ..metrics.scored_clips import Rated
from .comparison import Comparison
from .joining import Joined, assemble, best_on_dev, chosen_apart, each_group, mean_of_all
from .scores.dev_choice import N_DRAWS, choice_saw_test, choose
from .scores.scoring import by_value, left_out, means_over_values
from .scores.verdicts import verdict_of_pair


def compare_numbers(
    joined: Joined[Rated], before_test: Callable[[str | None], Mapping[str, Any]] | None
) -> Comparison:
    """Score members and ensembles on the same clips, in the stages of `compare`.

    Raises
    ------
    InputError
        An ensemble that needs class probabilities.
    """
    combined = _combine(joined)
    made = _choice(joined, combined)
    chosen = made["chosen"] if made else None
    test_uses = dict(before_test(chosen)) if before_test else None
    systems = {name: item.test for name, item in combined.items()}
    test, tuning = joined.test, joined.tuning
    drawn = test.measured(systems, test.groups, pooled=joined.pooled(), **joined.options.draws)
    data = assemble(
        joined,
        combined,
        {name: _scores(joined, drawn, name) for name in systems},
        chosen=chosen,
        task=test.task.record(),
        groups={
            "count": drawn.groups,
            "effective": drawn.effective,
            "values": _each_group(joined, systems),
        },
        measure="ccc",
        choice=made,
        test_uses=test_uses,
    )
    data["pairs"] = _pairs(joined, drawn, data["pairs_of"])
    data["by"] = {column: _by(joined, systems, column) for column in joined.by}
    of_dev = tuning.warnings if tuning else ()
    data["warnings"] = ranked(
        [*test.warnings, *of_dev, *split_warnings(joined.folds), *choice_saw_test(data)]
    )
    replays = {name: item.replay for name, item in combined.items() if item.replay is not None}
    return Comparison(data, systems, replays, test.clips)


def _combine(joined: Joined[Rated]) -> dict[str, Combined]:
    """Return members and ensembles on test and dev; dev has no scores yet."""
    task, tuning = joined.test.task, joined.tuning
    rules = [strategy(one) if isinstance(one, str) else one for one in joined.options.strategies]
    for rule in rules:
        if not rule.of_numbers:
            able = " or ".join(name for name, kind in STRATEGIES.items() if kind.of_numbers)
            raise InputError(
                f"the ensemble {rule.name!r} combines class probabilities, and the task "
                f"{task.name!r} is a regression task; expected {able}"
            )
    members, dev = joined.test.members, tuning.members if tuning else {}
    found = {
        name: Combined(one, (name,), dev_predictions=dev.get(name)) for name, one in members.items()
    }
    names = tuple(sorted(members))
    for rule in rules if len(members) > 1 else ():
        test, on_dev = (rule.combine(own) if own else None for own in (members, dev))
        found[free_name(rule.name, found)] = Combined(
            *(_numbers(test), names, rule.name),
            dev_predictions=_numbers(on_dev) if on_dev else None,
            replay=Replay(rule, names, task.labels),
        )
    return found


def _numbers(made: Any) -> Estimates:
    """Return what an ensemble gives as numbers."""
    return Estimates(made.ids, made.labels, made.proba, source=made.source)


def _choice(joined: Joined[Rated], combined: Mapping[str, Combined]) -> dict[str, Any] | None:
    """Give each system its scores on dev, and choose one; None without dev."""
    tuning = joined.tuning
    if tuning is None:
        return None
    drawn = _on_dev(joined, tuning, combined)
    for name, found in drawn.estimates.items():
        each = {one: float(found["ccc"][at]) for at, one in enumerate(joined.test.task.labels)}
        combined[name].dev = {
            **{one: float(found[one][-1]) for one in MEASURES},
            "dimensions": each,
        }
    best = best_on_dev(combined, "ccc", "error")
    if best is None:
        return None
    made = _choose(best, drawn, combined, tuning.groups)
    return {**made, "apart": _apart(joined, tuning, combined, made["chosen"])}


def _on_dev(
    joined: Joined[Rated],
    tuning: Rated,
    combined: Mapping[str, Combined],
    rows: np.ndarray | slice = slice(None),
) -> Measured:
    """Return the measures of each system on dev, and in draws of its groups."""
    systems = {n: one.dev_predictions for n, one in combined.items() if one.dev_predictions}
    seed, codes = joined.options.random_state, tuning.groups[rows]
    groups = codes if np.ptp(codes) else np.arange(len(codes))  # of one speaker, the clips
    return tuning.measured(systems, groups, rows, n_resamples=N_DRAWS, random_state=seed)


def _choose(
    best: str | None, drawn: Measured, combined: Mapping[str, Combined], groups: np.ndarray
) -> dict[str, Any]:
    scores = {name: one["ccc"][:, -1] for name, one in drawn.samples.items()}
    whole = {name: float(one["ccc"][-1]) for name, one in drawn.estimates.items()}
    return choose(best, mean_of_all(combined), scores, whole, len(np.unique(groups)))


def _apart(
    joined: Joined[Rated], tuning: Rated, combined: Mapping[str, Combined], chosen: str
) -> dict[str, Any] | None:
    """Return the CCC of what is chosen for each fold without its clips; None of one split."""

    def chosen_on(rows: np.ndarray) -> str:
        drawn = _on_dev(joined, tuning, combined, rows)
        return _choose(None, drawn, combined, tuning.groups[rows])["chosen"]

    test, options = joined.test, joined.options
    values = {name: item.test.proba for name, item in combined.items()}
    found = chosen_apart(joined, values, chosen, chosen_on)
    if found is None:
        return None
    given = {"": Estimates(test.clips.ids, test.task.labels, found[1])}
    drawn = test.measured(given, test.groups, pooled=True, **options.draws)
    return {"systems": found[0], "ccc": _measures(drawn, "", -1, options.level)["ccc"]}


def _scores(joined: Joined[Rated], drawn: Measured, name: str) -> dict[str, Any]:
    """Return every measure of one system, over all dimensions and for each."""
    sums = drawn.sums[name].sum(axis=0)
    found = _each_dimension(joined, drawn, name)
    for at, one in enumerate(found["dimensions"].values()):
        n, x, y, xx, yy = (float(sum_) for sum_ in sums[at, :5])
        spread = [
            math.sqrt(max(q / n - (s / n) ** 2, 0)) if n else 0 for q, s in ((xx, x), (yy, y))
        ]
        one["clips"] = int(n)
        one["bias"] = (y - x) / n if n else None
        one["spread"] = spread[1] / spread[0] if spread[0] else None
    return found


def _each_dimension(joined: Joined[Rated], drawn: Measured, name: str) -> dict[str, Any]:
    """Return the measures of one system: their means over dimensions, and those of each."""
    level = joined.options.level
    each = enumerate(joined.test.task.labels)
    own = {dimension: _measures(drawn, name, at, level) for at, dimension in each}
    return {**_measures(drawn, name, -1, level), "dimensions": own}


def _measures(drawn: Measured, name: str, at: int, level: float) -> dict[str, Any]:
    """Return the measures of one dimension, or of their mean at -1, with intervals."""
    return {
        key: {
            "value": float(drawn.estimates[name][key][at]),
            "interval": list(drawn.interval(name, key, at, level)),
        }
        for key in MEASURES
    }


def _pairs(joined: Joined[Rated], drawn: Measured, first: str | None) -> list[dict[str, Any]]:
    """Test pairs of systems on CCC by exchanging whole groups, corrected over all of them."""
    names, level = list(drawn.sums), joined.options.level
    family = list(combinations(names, 2))
    if first is not None:
        family = [(first, name) for name in names if name != first]
    if not family:
        return []
    tested = drawn.groups >= FEWEST_GROUPS
    found = allow_for_unseen(
        max_t_ccc(drawn.sums, family, random_state=joined.options.random_state),
        *shares_of_ccc(drawn, family),
    )
    rows = []
    for at, (a, b) in enumerate(family):
        gap, span = drawn.difference(a, b, level)
        errors = [_group_errors(drawn, name) for name in (a, b)]
        p, corrected = (float(x[at]) if tested else math.nan for x in (found.p, found.corrected))
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
            "clips": len(joined.test.clips),
            "different": bool(tested and corrected < 1 - level),
        }
        rows.append({**row, "sentence": verdict_of_pair(row, "ccc")})
    return rows


def _group_errors(drawn: Measured, name: str) -> np.ndarray:
    """Return the mean absolute error of each group, as a share of the range, `(groups,)`."""
    sums = drawn.sums[name]
    clips = np.maximum(sums[:, :, 0], 1)
    return (sums[:, :, 6] / clips / drawn.ranges).mean(axis=1)


def _by(joined: Joined[Rated], systems: Mapping[str, Predictions], column: str) -> dict[str, Any]:
    """Score every system within each value of a column, and the mean over values."""
    options = joined.options

    def measured(at: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
        drawn = joined.test.measured(systems, groups, at, pooled=joined.pooled(at), **options.draws)
        own = {name: _each_dimension(joined, drawn, name) for name in systems}
        return {"groups": drawn.groups, "systems": own}

    rows = by_value(joined, column, measured)
    means = means_over_values(
        *(rows, MEASURES, options.level),
        bounds=(-1.0, 1.0),
        pooled=left_out(column, joined.folds),
    )
    return {"values": rows, **means}


def _each_group(joined: Joined[Rated], systems: Mapping[str, Predictions]) -> list[dict[str, Any]]:
    """Return the error of each system on each group, as a share of the range."""
    test = joined.test
    ranges = np.array([scale.range for scale in test.task.scales.values()])

    def error(rows: np.ndarray, one: Predictions) -> float:
        return float(np.nanmean(np.abs(one.proba[rows] - test.ratings[rows]) / ranges))

    return each_group(joined, systems, "error", error)
