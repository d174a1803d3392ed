"""Compare systems that predict numbers: chosen on dev by CCC, scored on test with intervals.

The result is a `Comparison` as that of labels is; ``measure`` in its data is "ccc". What stands
once for a system (``ccc``, ``pearson``, ``error``) is the mean over dimensions, errors as a share
of the scale's range; ``dimensions`` holds each on its own scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.errors import InputError
from ..data.estimates import Estimates
from ..data.scales import ScaleTask
from ..data.splitting.split import Split
from ..ensembles.fixed_rules import Ensemble
from ..ensembles.saved import Replay
from ..ensembles.strategies import free_name
from ..ensembles.strategy_names import STRATEGIES, strategy
from ..metrics.bootstrap import FEWEST_GROUPS
from ..metrics.concordance import MEASURES, Measured, max_t_ccc, measure
from ..metrics.scored_clips import cluster_names, clusters
from ..metrics.significance import p_text
from .comparison import Comparison
from .dev_test_overlap import check_apart
from .scores.choice import N_DRAWS, firmness
from .scores.scoring import mean_interval
from .warning_order import ranked

if TYPE_CHECKING:
    from ...cache.manifest import Manifest

__all__ = ["compare_numbers"]

FORMAT = 2


@dataclass(frozen=True)
class Rated:
    """Test or dev: rated clips in the order of their ids, and predictions joined to them."""

    clips: Manifest
    ratings: np.ndarray
    members: dict[str, Estimates]
    dropped: dict[str, int]
    task: ScaleTask

    @classmethod
    def of(cls, members: Mapping[str, Any], truth: Manifest, task: ScaleTask) -> Rated:
        """Select rated clips, and join the members' predictions to them."""
        if not members:
            raise InputError("nothing to compare; expected at least one member's predictions")
        selected, dropped = task.select(truth, blank="drop")
        clips = selected.select(sorted(selected.ids))
        out = set(truth.ids) - set(clips.ids)
        joined = {}
        for name, given in members.items():
            if not isinstance(given, Estimates):
                raise InputError(
                    f"member {name!r} has class probabilities, and the task {task.name!r} is of "
                    "numbers; expected one number for each of " + ", ".join(task.labels)
                )
            known = given.reorder(task.labels)
            known = known.select([clip for clip in known.ids if clip not in out]) if out else known
            joined[name] = known.align(clips.ids)
        return cls(clips, task.ratings(clips), joined, dropped, task)

    def measured(self, systems: Mapping[str, Estimates], groups: np.ndarray, **draws: int) -> Any:
        """Return `Measured` of systems on these clips."""
        values = {name: one.values for name, one in systems.items()}
        return measure(self.ratings, values, groups, self.task.limits, **draws)

    def at(self, rows: np.ndarray) -> Rated:
        """Return some of the clips, without members."""
        return Rated(self.clips.select(rows), self.ratings[rows], {}, {}, self.task)

    def describe(self) -> dict[str, Any]:
        """Return counts, and mean and deviation of the ratings, for JSON."""
        with np.errstate(invalid="ignore"):
            rated = {
                name: {
                    "clips": int(np.isfinite(column).sum()),
                    "mean": float(np.nanmean(column)) if np.isfinite(column).any() else None,
                    "sd": float(np.nanstd(column)) if np.isfinite(column).any() else None,
                }
                for name, column in zip(self.task.labels, self.ratings.T, strict=True)
            }
        return {
            "clips": len(self.clips),
            "manifest": self.clips.hash,
            "labels": {name: one["clips"] for name, one in rated.items()},
            "dimensions": rated,
            "absent": [name for name, one in rated.items() if not one["clips"]],
            "left_out": self.dropped,
        }


def compare_numbers(
    members: Mapping[str, Any],
    truth: Manifest,
    task: ScaleTask,
    *,
    strategies: Sequence[str | Ensemble],
    dev: Mapping[str, Any] | None,
    dev_truth: Manifest | None,
    groups: str | None,
    by: Sequence[str],
    all_pairs: bool,
    allow_overlap: bool,
    folds: Sequence[Split],
    before_test: Callable[[str | None], Mapping[str, Any]] | None,
    n_resamples: int,
    level: float,
    random_state: int,
) -> Comparison:
    """Score members and ensembles on the same clips; the parameters are those of `compare`.

    Raises
    ------
    InputError
        As `compare`; or an ensemble that needs class probabilities.
    """
    test = Rated.of(members, truth, task)
    for column in (*by, *([] if groups is None else [groups])):
        test.clips[column]
    rules = [strategy(one) if isinstance(one, str) else one for one in strategies]
    for rule in rules:
        if not rule.of_numbers:
            able = " or ".join(name for name, kind in STRATEGIES.items() if kind.of_numbers)
            raise InputError(
                f"the ensemble {rule.name!r} combines class probabilities, and the task "
                f"{task.name!r} is of numbers; expected {able}"
            )
    systems, replays = _systems(test.members, rules)
    tuning = None
    warnings: list[str] = []
    if dev is not None and dev_truth is not None:
        tuning = Rated.of(dev, dev_truth, task)
        warnings += check_apart(tuning.clips, test.clips, allow=allow_overlap)
    draws = {"n_resamples": n_resamples, "random_state": random_state}
    on_dev, chosen, choice = {}, None, None
    if tuning is not None:
        found, _ = _systems(tuning.members, rules)
        dev_groups, _ = clusters(tuning.clips, groups)
        drawn = tuning.measured(found, dev_groups, n_resamples=N_DRAWS, random_state=random_state)
        on_dev = {name: _values(drawn, name, task) for name in found}
        chosen = min(on_dev, key=lambda name: _preference(name, on_dev[name], replays))
        choice = _choice(chosen, drawn)
    test_uses = dict(before_test(chosen)) if before_test else None
    codes, about_groups = clusters(test.clips, groups)
    drawn = test.measured(systems, codes, **draws)
    family = list(combinations(systems, 2))
    if chosen is not None and not all_pairs:
        family = [(chosen, name) for name in systems if name != chosen]
    several = [fold for fold in folds if fold.name]
    split_notes = [
        f"{fold.name}: {text}" if several else text for fold in folds for text in fold.warnings
    ]
    data: dict[str, Any] = {
        "format": FORMAT,
        "measure": "ccc",
        "task": task.record(),
        "test": test.describe(),
        "dev": tuning.describe() if tuning else None,
        "groups": {
            "column": groups,
            "count": drawn.groups,
            "effective": drawn.effective,
            "values": _each_group(test, systems, groups),
        },
        "splits": [fold.describe() for fold in folds],
        "settings": {
            "strategies": [rule.name for rule in rules],
            "n_resamples": n_resamples,
            "level": level,
            "random_state": random_state,
            "chosen_on": "dev" if tuning else None,
        },
        "warnings": ranked([*about_groups, *warnings, *ranked(split_notes)[:10]]),
        "chosen": chosen,
        "choice": choice,
        "pairs_of": None if all_pairs else chosen,
        "test_uses": test_uses,
        "systems": {
            name: {
                "kind": "ensemble" if name in replays else "member",
                "strategy": replays[name].rule.name if name in replays else "",
                "members": list(replays[name].members) if name in replays else [name],
                "dev": on_dev.get(name),
                "learnt": {},
                "test": _scores(drawn, name, task, level),
            }
            for name in systems
        },
        "pairs": _pairs(test, systems, drawn, family, codes, level, random_state),
        "by": {
            column: _by(test, systems, column, groups, level, draws)
            for column in by
            if len(set(test.clips[column])) > 1
        },
    }
    return Comparison(data, systems, replays, test.clips)


def _systems(
    members: Mapping[str, Estimates], rules: Sequence[Ensemble]
) -> tuple[dict[str, Estimates], dict[str, Replay]]:
    """Return members and ensembles by name, and the ensembles for new clips."""
    systems, replays = dict(members), {}
    names = tuple(sorted(members))
    for rule in rules if len(members) > 1 else ():
        label = free_name(rule.name, systems)
        made = rule.combine(members)
        systems[label] = Estimates(made.ids, made.labels, made.proba, source=made.source)
        replays[label] = Replay(rule, names, made.labels)
    return systems, replays


def _values(drawn: Measured, name: str, task: ScaleTask) -> dict[str, Any]:
    found = drawn.estimates[name]
    each = {one: float(found["ccc"][at]) for at, one in enumerate(task.labels)}
    return {**{one: float(found[one][-1]) for one in MEASURES}, "dimensions": each}


def _preference(
    name: str, dev: Mapping[str, Any], replays: Mapping[str, Replay]
) -> tuple[float, float, int, str]:
    """Return what dev orders by: CCC, then error, then fewer members, then the name."""
    ccc, error = (dev[key] if math.isfinite(dev[key]) else math.inf for key in ("ccc", "error"))
    members = len(replays[name].members) if name in replays else 1
    return -ccc if math.isfinite(ccc) else math.inf, error, members, name


def _choice(chosen: str, drawn: Measured) -> dict[str, Any]:
    names = list(drawn.estimates)
    samples = np.stack([drawn.samples[name]["ccc"][:, -1] for name in names])
    whole = np.array([drawn.estimates[name]["ccc"][-1] for name in names])
    return firmness(names.index(chosen), samples, whole, drawn.groups)


def _scores(drawn: Measured, name: str, task: ScaleTask, level: float) -> dict[str, Any]:
    """Return every measure of one system, over all dimensions and for each."""

    def told(key: str, at: int) -> dict[str, Any]:
        value = float(drawn.estimates[name][key][at])
        return {"value": value, "interval": list(drawn.interval(name, key, at, level))}

    sums = drawn.sums[name].sum(axis=0)
    found: dict[str, Any] = {key: told(key, -1) for key in MEASURES}
    found["dimensions"] = {}
    for at, dimension in enumerate(task.labels):
        n, x, y, xx, yy = (float(one) for one in sums[at, :5])
        spread = [
            math.sqrt(max(q / n - (s / n) ** 2, 0)) if n else 0 for q, s in ((xx, x), (yy, y))
        ]
        found["dimensions"][dimension] = {
            **{key: told(key, at) for key in MEASURES},
            "clips": int(n),
            "bias": (y - x) / n if n else None,
            "spread": spread[1] / spread[0] if spread[0] else None,
        }
    return found


def _pairs(
    test: Rated,
    systems: Mapping[str, Estimates],
    drawn: Measured,
    family: list[tuple[str, str]],
    codes: np.ndarray,
    level: float,
    random_state: int,
) -> list[dict[str, Any]]:
    """Test pairs of systems on CCC by exchanging whole groups, corrected over all of them."""
    if not family:
        return []
    tested = drawn.groups >= FEWEST_GROUPS
    found = max_t_ccc(drawn.sums, family, random_state=random_state)
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
            "clips": len(test.clips),
            "different": bool(tested and corrected < 1 - level),
        }
        rows.append({**row, "sentence": _sentence(row)})
    return rows


def _group_errors(drawn: Measured, name: str) -> np.ndarray:
    """Return the mean absolute error of each group, as a share of the range, `(groups,)`."""
    sums = drawn.sums[name]
    clips = np.maximum(sums[:, :, 0], 1)
    return (sums[:, :, 6] / clips / drawn.ranges).mean(axis=1)


def _sentence(row: Mapping[str, Any]) -> str:
    a, b, gap = row["a"], row["b"], row["ccc_difference"]
    low, high = row["ccc_difference_interval"]
    shown = f"CCC {gap:+.3f}" + ("" if math.isnan(low) else f" [{low:.3f}, {high:.3f}]")
    counts = f"smaller error in {row['groups_a_better']} of {row['groups']}"
    if row["groups_b_better"]:
        counts += f", larger in {row['groups_b_better']}"
    if math.isnan(row["p_ccc"]):
        return f"{a} against {b}: {shown}; {counts}; too few for a test"
    p = f"p = {p_text(row['p_ccc'])}, corrected {p_text(row['p_ccc_corrected'])}"
    if not row["different"]:
        return f"{a} and {b}: no difference can be shown: {shown}, {p}; {counts}"
    return f"{a} is {'better' if gap > 0 else 'worse'} than {b}: {shown}, {p}; {counts}"


def _by(
    test: Rated,
    systems: Mapping[str, Estimates],
    column: str,
    groups: str | None,
    level: float,
    draws: Mapping[str, int],
) -> dict[str, Any]:
    """Score every system within each value of a column, and the mean over values."""
    cells = np.array([str(value) for value in test.clips[column]], dtype=object)
    rows: dict[str, Any] = {}
    for value in sorted(set(cells)):
        at = np.flatnonzero(cells == value)
        here = test.at(at)
        codes, warnings = clusters(here.clips, groups)
        own = {name: one.select(here.clips.ids) for name, one in systems.items()}
        drawn = here.measured(own, codes, **draws)
        rows[value or "(blank)"] = {
            "clips": len(at),
            "groups": drawn.groups,
            "warnings": warnings,
            "systems": {
                name: {
                    key: {
                        "value": float(drawn.estimates[name][key][-1]),
                        "interval": list(drawn.interval(name, key, -1, level)),
                    }
                    for key in MEASURES
                }
                for name in systems
            },
        }
    own = {n: [row["systems"][n]["ccc"]["value"] for row in rows.values()] for n in systems}
    return {
        "values": rows,
        "macro": {name: {"ccc": float(np.mean(found))} for name, found in own.items()},
        "macro_interval": {
            name: list(mean_interval(found, level, (-1.0, 1.0))) for name, found in own.items()
        },
    }


def _each_group(
    test: Rated, systems: Mapping[str, Estimates], groups: str | None
) -> list[dict[str, Any]]:
    """Return the error of each system on each group, as a share of the range."""
    codes, _ = clusters(test.clips, groups)
    if groups is None or len(np.unique(codes)) == len(codes):
        return []
    names = cluster_names(test.clips, groups)
    ranges = np.array([scale.range for scale in test.task.scales.values()])
    rows = []
    for code in np.unique(codes):
        at = np.flatnonzero(codes == code)
        rated = test.ratings[at]
        errors = {
            name: float(np.nanmean(np.abs(one.values[at] - rated) / ranges))
            for name, one in systems.items()
        }
        group = names[at[0]].lstrip("\0")
        rows.append({"group": group, "clips": len(at), "error": errors})
    return rows
