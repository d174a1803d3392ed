"""Measures with their intervals as text, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: key in the JSON -> the displayed name
MEASURES = {
    "uar": "UAR",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
}


def number(value: float | None, digits: str = ".3f") -> str:
    """Return a number with three digits, or "-"."""
    return "-" if value is None else format(value, digits)


def mean_uar(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mean UAR of a system over repeats, with its interval between 0 and 1, for `score`.

    Examples
    --------
    >>> mean_uar({"uar": {"mean": 0.9, "interval": [0.75, 1.05]}})
    {'value': 0.9, 'interval': [0.75, 1]}
    """
    limits = row["uar"]["interval"]
    span = [max(limits[0], 0), min(limits[1], 1)] if limits else None
    return {"value": row["uar"]["mean"], "interval": span}


def has_mean_intervals(data: Mapping[str, Any]) -> bool:
    """Whether means over repeats have intervals; with few speakers, folds have none."""
    return any(row["uar"]["interval"] for row in data["systems"].values())


def score(value: Mapping[str, Any] | None) -> str:
    """Return a value with its interval; "-" where there is none.

    Examples
    --------
    >>> score({"value": 0.7123, "interval": [0.65, 0.768]}), score(None)
    ('0.712 [0.650, 0.768]', '-')
    """
    if value is None or value["value"] is None:
        return "-"
    span = value.get("interval")
    if not span or span[0] is None:
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} [{span[0]:.3f}, {span[1]:.3f}]"
