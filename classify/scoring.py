"""Score systems: measures with intervals, tests of every pair, and tables by any column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from . import metrics, stats
from .bootstrap import Resamples, resample
from .part import Part, clusters
from .predictions import Predictions
from .task import Task


def scores(
    truth: np.ndarray,
    predictions: Predictions,
    task: Task,
    drawn: Resamples,
    name: str,
    level: float,
    of_proba: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Any]:
    """Return every measure of one system on the test clips.

    `of_proba` holds the intervals of NLL, Brier, ECE and CCC, as `proba_intervals` gives them.
    """
    matrix = metrics.confusion_of_codes(truth, predictions.codes, len(task.labels))
    result: dict[str, Any] = {}
    for measure, value in metrics.summary(matrix).items():
        result[measure] = {"value": value}
        if measure in drawn.values[name]:
            result[measure]["interval"] = list(drawn.interval(name, measure, level))
    if not predictions.hard:
        for measure in (metrics.nll, metrics.brier, metrics.ece):
            result[measure.__name__] = {"value": measure(truth, predictions.proba)}
        if task.values:
            values = np.array([task.values[label] for label in task.labels])
            result["ccc"] = {"value": metrics.ccc(values[truth], predictions.proba @ values)}
        for measure, limits in (of_proba or {}).items():
            result[measure]["interval"] = list(limits)
    table = metrics.per_class(matrix)
    result["right"] = int(np.trace(matrix))
    result["classes"] = {
        label: {
            **{measure: float(table[measure][k]) for measure in ("precision", "recall", "f1")},
            "recall_interval": list(drawn.interval(name, f"recall {k}", level)),
            "support": int(table["support"][k]),
        }
        for k, label in enumerate(task.labels)
    }
    result["confusion"] = matrix.tolist()
    return result


def pairs(
    truth: np.ndarray,
    guesses: Mapping[str, np.ndarray],
    groups: np.ndarray,
    drawn: Resamples,
    n_labels: int,
    random_state: int,
    level: float,
) -> list[dict[str, Any]]:
    """Test every pair of systems on clips right and on UAR; Holm over all pairs, for each measure.

    Clips right have to pass both McNemar's exact test, of clips, and the exchange of whole groups:
    the larger p counts. UAR is tested by the exchange of groups.
    """
    names = list(guesses)
    if len(names) < 2:
        return []
    right = np.stack([guesses[name] == truth for name in names])
    support = np.bincount(truth, minlength=n_labels)
    worth = {  # of one right clip in each measure
        "accuracy": np.full(len(truth), 1 / len(truth)),
        "uar": 1 / (support[truth] * n_labels),
    }
    exchanged: dict[str, np.ndarray] = {}
    exact = True
    for measure, value in worth.items():
        parts = np.stack([np.bincount(groups, row * value) for row in right], axis=1)
        exchanged[measure], exact = stats.permutation(parts, random_state=random_state)
    rows = []
    for a, b in combinations(range(len(names)), 2):
        only_a = int((right[a] & ~right[b]).sum())
        only_b = int((right[b] & ~right[a]).sum())
        gap, error, span = drawn.difference(names[a], names[b], "uar", level)
        p_clips = stats.mcnemar(only_a, only_b)
        rows.append(
            {
                "a": names[a],
                "b": names[b],
                "right_a": int(right[a].sum()),
                "right_b": int(right[b].sum()),
                "only_a": only_a,
                "only_b": only_b,
                "mcnemar": p_clips,
                "permutation_right": float(exchanged["accuracy"][a, b]),
                "p_right": max(p_clips, float(exchanged["accuracy"][a, b])),
                "p_uar": float(exchanged["uar"][a, b]),
                "permutation_exact": exact,
                "uar_difference": gap,
                "uar_difference_interval": list(span),
                "uar_detectable": stats.detectable(error),
                "clips_apart_needed": stats.fewest_apart(only_a + only_b),
            }
        )
    for measure in ("p_right", "p_uar"):
        for row, p in zip(rows, stats.holm([row[measure] for row in rows]), strict=True):
            row[f"{measure}_holm"] = p
    for row in rows:
        uar_a, uar_b = (drawn.estimates[row[side]]["uar"] for side in "ab")
        row["different"] = bool(min(row["p_right_holm"], row["p_uar_holm"]) < 1 - level)
        row["sentence"] = stats.verdict_of_pair(
            (row["a"], row["b"]),
            (row["right_a"], row["right_b"]),
            len(truth),
            (uar_a, uar_b),
            row["p_right_holm"],
            row["p_uar_holm"],
            1 - level,
        )
    return rows


def table_by(
    test: Part,
    systems: Mapping[str, Predictions],
    task: Task,
    column: str,
    groups: str | None,
    n_resamples: int,
    random_state: int,
    level: float,
) -> dict[str, Any]:
    """Score every system within each value of a column, pooled and as the mean over values."""
    values = np.array([str(v) for v in test.clips[column]], dtype=object)
    rows: dict[str, Any] = {}
    for value in sorted(set(values)):
        at = np.flatnonzero(values == value)
        codes = test.codes[at]
        group_codes, warnings = clusters(test.clips.select(at), groups)
        guesses = {name: p.codes[at] for name, p in systems.items()}
        drawn = resample(
            codes,
            guesses,
            group_codes,
            len(task.labels),
            n_resamples=min(n_resamples, 2000),
            random_state=random_state,
        )
        support = Counter(codes.tolist())
        rows[value or "(blank)"] = {
            "clips": len(at),
            "groups": drawn.groups,
            "absent": [label for k, label in enumerate(task.labels) if not support[k]],
            "warnings": warnings,
            "systems": {
                name: {
                    measure: {
                        "value": score,
                        **(
                            {"interval": list(drawn.interval(name, measure, level))}
                            if measure in drawn.values[name]
                            else {}
                        ),
                    }
                    for measure, score in metrics.summary(
                        metrics.confusion_of_codes(codes, guess, len(task.labels))
                    ).items()
                }
                for name, guess in guesses.items()
            },
        }
    macro = {
        name: {
            measure: float(
                np.mean([row["systems"][name][measure]["value"] for row in rows.values()])
            )
            for measure in ("uar", "accuracy", "macro_f1", "weighted_f1", "uar_present")
        }
        for name in systems
    }
    return {"values": rows, "macro": macro}
