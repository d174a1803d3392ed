"""A model card for what a run chose, as the Hub shows it; it holds no number of its own.

Every number is one of `comparison.json`. What a card cannot know (where the recordings come from,
who consented) is left as a question, not invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ....cache.errors import InputError, expected_one_of, shaped
from ...data.escape import md
from ...metrics.bootstrap import FEWEST_GROUPS
from ...metrics.scored_clips import group_noun
from ...serving.usage import pipeline, usage
from ..comparison import Comparison
from .markdown.run_sections import test_uses
from .markdown.shared_sections import columns

__all__ = ["model_card"]

TAGS = {
    "audio-classification": "speech-emotion-recognition",
    "text-classification": "emotion-recognition",
}


def model_card(run: str | Path, system: str | None = None) -> str:
    """Return the card of a system of a run, as Markdown.

    Parameters
    ----------
    run : path
        The folder that `affekt run` left.
    system : str, optional
        A member or ensemble; the one that dev chose by default.

    Returns
    -------
    str

    Raises
    ------
    InputError
        No run there, or no such system.

    Examples
    --------
    >>> model_card("nowhere")
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: nowhere...
    """
    data = Comparison.read(run).data
    with shaped(run, "a comparison as affekt wrote it; run or compare again"):
        return _card(run, data, system)


def _card(run: str | Path, data: Mapping[str, Any], system: str | None) -> str:
    name = system or data["chosen"]
    if name is None:
        raise InputError(
            f"{run}: nothing was chosen on dev; say which with --system: "
            f"{', '.join(data['systems'])}"
        )
    if name not in data["systems"]:
        raise InputError(f"{run} has no system {name!r}; {expected_one_of(name, data['systems'])}")
    entry = data["systems"][name]
    parts = [
        _front(data, entry, pipeline(run, name)),
        f"# {md(data['task']['name'])}: {md(name)}",
        _what(data, name, entry),
        _results(data, name, entry),
        _data(data),
        _limits(data),
        f"## Use\n\n{usage(run, name)}",
    ]
    return "\n\n".join(parts) + "\n"


def _front(data: Mapping[str, Any], entry: Mapping[str, Any], kind: str) -> str:
    """The block of metadata that the Hub reads."""
    languages = sorted(language for language in _languages(data) if language)
    scores = [
        {"type": key, "name": label, "value": round(entry["test"][key]["value"], 4)}
        for key, label in columns(data)
    ]
    front: dict[str, Any] = {
        "library_name": "affekt",
        "pipeline_tag": kind,
        "tags": [TAGS[kind], data["task"]["name"]],
        "model-index": [
            {
                "name": "affekt",
                "results": [
                    {
                        "task": {"type": kind},
                        "dataset": {"type": "private", "name": "see below"},
                        "metrics": scores,
                    }
                ],
            }
        ],
    }
    if languages:
        front["language"] = languages
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---"


def _languages(data: Mapping[str, Any]) -> list[str]:
    coverage = data.get("run", {}).get("coverage", {})
    return list(coverage.get("compared_on", {}).get("languages", {}))


def _what(data: Mapping[str, Any], name: str, entry: Mapping[str, Any]) -> str:
    labels = ", ".join(md(label) for label in data["task"]["labels"])
    lines = [f"Classifies clips of speech or text into **{labels}**."]
    if scales := data["task"].get("dimensions"):
        told = [f"{md(n)} ({s['range'][0]:g} to {s['range'][1]:g})" for n, s in scales.items()]
        lines = [f"Predicts numbers for clips of speech or text: **{', '.join(told)}**."]
    if entry["kind"] == "ensemble":
        members = ", ".join(md(member) for member in entry["members"])
        lines.append(f"It is an ensemble ({md(entry['strategy'])}) of {members}.")
    members = data.get("run", {}).get("members", {})
    for member in entry["members"]:
        for part in members.get(member, {}).get("parts", [])[:1]:
            if "chosen" in part:
                chosen = part["chosen"]
                words = [f"layer {layer} of {md(on)}" for on, layer in chosen["layers"].items()]
                words += [f"{md(k)} {md(v)}" for k, v in chosen["settings"].items()]
                lines.append(f"{md(member)}: {', '.join(words)}, chosen on dev.")
    if data["chosen"] == name:
        lines.append("It was chosen on dev.")
    if uses := data.get("test_uses"):
        lines.append(test_uses(uses))
    return " ".join(lines)


def _results(data: Mapping[str, Any], name: str, entry: Mapping[str, Any]) -> str:
    groups, numeric = data["groups"], data.get("measure") == "ccc"
    noun = md(group_noun(groups["column"], groups["count"]))
    if groups["count"] < FEWEST_GROUPS:
        spread = f"{groups['count']} {noun}: too few for intervals"
    else:
        crossed = f" and values of {md(groups['crossed'])}" if groups.get("crossed") else ""
        level = f"{100 * data['settings']['level']:g}"
        spread = f"{level} % intervals over {groups['count']} {noun}{crossed}"
    chance = f"chance is {1 / len(data['task']['labels']):.3f} UAR"
    if numeric:
        chance = "CCC and r are means over dimensions, the error is a share of the scale's range"
    lines = [
        "## Results",
        "",
        f"On {data['test']['clips']} test clips, {spread}; {chance}.",
        "",
        "| measure | test |",
        "| --- | ---: |",
    ]
    for key, label in columns(data):
        lines.append(f"| {label} | {_score(entry['test'][key])} |")
    lines += ["", *(_each_dimension(entry) if numeric else _each_label(entry))]
    lead, title = columns(data)[0]
    for column, table in data["by"].items():
        lines += ["", f"| {md(column)} | clips | {title} |", "| --- | ---: | ---: |"]
        for value, row in table["values"].items():
            score = _score(row["systems"][name][lead])
            lines.append(f"| {md(value)} | {row['clips']} | {score} |")
    return "\n".join(lines)


def _each_label(entry: Mapping[str, Any]) -> list[str]:
    lines = ["| label | recall | precision | clips |", "| --- | ---: | ---: | ---: |"]
    for label, one in entry["test"]["classes"].items():
        lines.append(
            f"| {md(label)} | {one['recall']:.3f} | {one['precision']:.3f} | {one['support']} |"
        )
    return lines


def _each_dimension(entry: Mapping[str, Any]) -> list[str]:
    lines = [
        "| dimension | CCC | Pearson r | mean absolute error | clips |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, one in entry["test"]["dimensions"].items():
        cells = [_score(one[key]) for key in ("ccc", "pearson", "error")]
        lines.append(f"| {md(name)} | {' | '.join(cells)} | {one['clips']} |")
    return lines


def _score(one: Mapping[str, Any]) -> str:
    interval = one.get("interval")
    if one["value"] is None:
        return "-"
    if not interval or None in interval:
        return f"{one['value']:.3f}"
    return f"{one['value']:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _data(data: Mapping[str, Any]) -> str:
    lines = ["## Data", ""]
    for split in data.get("run", {}).get("splits", [])[:1]:
        lines.append(f"Split by {md(split['scheme'])}, hash `{split['hash'][:16]}`:")
        lines += ["", "| part | clips | speakers | labels |", "| --- | ---: | ---: | --- |"]
        for part, one in split["parts"].items():
            labels = ", ".join(f"{md(label)} {n}" for label, n in one["labels"].items())
            lines.append(f"| {part} | {one['clips']} | {one['speakers']} | {labels} |")
        lines.append("")
    lines += [
        f"Task `{md(data['task']['name'])}`, hash `{data['task']['hash'][:16]}`.",
        "",
        "Where do the recordings come from, who is heard, what did they consent to, under which "
        "licence? *(to be filled in by hand)*",
    ]
    return "\n".join(lines)


def _limits(data: Mapping[str, Any]) -> str:
    lines = [
        "## Limits",
        "",
        "It was scored on the languages and corpora above and on no other. A label is what raters "
        "or actors meant, not what a person feels. Do not use it to judge people: in hiring, "
        "policing, insurance, or at work.",
    ]
    if data["warnings"]:
        lines += ["", "What the comparison warns of:", ""]
        lines += [f"- {md(warning)}" for warning in data["warnings"]]
    return "\n".join(lines)
