"""The metadata of a model card, as the Hub reads it: what `huggingface_hub.ModelCardData` parses.

A confidence interval has no place of its own in a model-index; it is among the arguments of its
metric, with the level and what was resampled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ....cache.identity.spec import Spec
from .markdown.column_tables import divides_like
from .markdown.system_order import columns

TAGS = {
    "audio-classification": "speech-emotion-recognition",
    "text-classification": "emotion-recognition",
}
#: measure -> the Hub's name of the metric, and its arguments
METRICS: dict[str, tuple[str, dict[str, Any]]] = {
    "uar": ("recall", {"average": "macro"}),
    "accuracy": ("accuracy", {}),
    "macro_f1": ("f1", {"average": "macro"}),
    "weighted_f1": ("f1", {"average": "weighted"}),
    "ccc": ("ccc", {}),
    "pearson": ("pearsonr", {}),
    "error": ("mae", {}),
}
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_DATASET = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def metadata(data: Mapping[str, Any], name: str, kind: str, specs: Sequence[Spec]) -> dict:
    """Return the metadata of the card of one system.

    Parameters
    ----------
    data
        `Comparison.data`.
    name
        A system of it.
    kind
        The Hub's name of what it does: ``audio-classification``, ``text-classification``.
    specs
        Of the encoders that it reads; those from the Hub are its base models.
    """
    encoders = [one.fields["encoder"] for one in specs]
    measures = [METRICS[key][0] for key, _ in columns(data)]
    found: dict[str, Any] = {
        "language": [one for one in sorted(_languages(data)) if _LANGUAGE.fullmatch(one)],
        "library_name": "affekt",
        "pipeline_tag": kind,
        "tags": list(dict.fromkeys([TAGS[kind], "affekt", data["task"]["name"]])),
        "datasets": [one for one in _values(data, "dataset") if _DATASET.fullmatch(one)],
        "metrics": list(dict.fromkeys(measures)),
        "base_model": sorted({one["name"] for one in encoders if one.get("origin") == "hub"}),
        "model-index": [
            {"name": f"{data['task']['name']}: {name}", "results": list(_results(data, name, kind))}
        ],
    }
    return {key: value for key, value in found.items() if value}


def _languages(data: Mapping[str, Any]) -> set[str]:
    coverage = data.get("run", {}).get("coverage", {})
    return {*coverage.get("compared_on", {}).get("languages", {}), *_values(data, "language")}


def _values(data: Mapping[str, Any], column: str) -> list[str]:
    return list(data["by"].get(column, {"values": {}})["values"])


def _results(data: Mapping[str, Any], name: str, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the results on all test clips, then those of each language and data set."""
    task = {"type": kind, "name": data["task"]["name"]}
    whole = {
        "type": "private",
        "name": "all test clips",
        "split": "test",
        "args": _sizes(data, data["test"]["clips"], data["groups"]["count"]),
    }
    scores = data["systems"][name]["test"]
    yield {"task": dict(task), "dataset": whole, "metrics": _metrics(data, scores)}
    for column in ("language", "dataset"):
        if column not in data["by"] or divides_like(data, column):
            continue
        for value, row in data["by"][column]["values"].items():
            part = {
                "type": "private",
                "name": f"test clips, {column} {value or '(none)'}",
                "config": f"{column}={value}",
                "split": "test",
                "args": _sizes(data, row["clips"], row.get("groups")),
            }
            metrics = _metrics(data, row["systems"][name])
            if metrics:
                yield {"task": dict(task), "dataset": part, "metrics": metrics}


def _resampled(data: Mapping[str, Any]) -> str:
    """Return the column whose values were drawn again; "clip" where clips were drawn singly."""
    groups = data["groups"]
    return "clip" if groups["count"] == data["test"]["clips"] else groups["column"]


def _sizes(data: Mapping[str, Any], clips: int, groups: int | None) -> dict[str, int | None]:
    column = _resampled(data)
    return {"clips": clips} if column == "clip" else {"clips": clips, column: groups}


def _metrics(data: Mapping[str, Any], scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for key, title in columns(data):
        one = scores.get(key)
        if one is None or one["value"] is None:
            continue
        metric, arguments = METRICS[key]
        entry: dict[str, Any] = {"type": metric, "value": round(one["value"], 4), "name": title}
        interval = one.get("interval")
        if interval and None not in interval:
            arguments = {
                **arguments,
                "interval": [round(bound, 4) for bound in interval],
                "level": data["settings"]["level"],
                "resampled": _resampled(data),
            }
        found.append({**entry, "args": dict(arguments)} if arguments else entry)
    return found
