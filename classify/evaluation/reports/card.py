"""A model card for what a run chose, as the Hub shows it; it holds no number of its own.

Every number is one of `comparison.json`. What a card cannot know (where the recordings come from,
who consented) is left as a question, not invented.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ....cache.errors import AffektError, InputError, expected_one_of, shaped
from ...data.escape import md
from ...metrics.bootstrap import FEWEST_GROUPS
from ...metrics.scored_clips import group_noun
from ...serving.usage import pipeline, usage
from ..comparison import Comparison
from .card_metadata import metadata
from .markdown.run_sections import test_uses
from .markdown.shared_sections import columns, divides_like, why_chosen

if TYPE_CHECKING:
    from ...models.new_clips.system import System

MOST_RAW_LABELS = 12  # of one label; a task that ships with affekt knows dozens


def model_card(run: str | Path, system: str | None = None) -> str:
    """Return the card of a system of a run: Markdown with the metadata that the Hub reads.

    `Model.push_to_hub` takes it as `card`. No speaker is named in it.

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
    entry, opened = data["systems"][name], _opened(run, name)
    specs = opened.specs() if opened else []
    front = yaml.safe_dump(
        metadata(data, name, pipeline(run, name), specs), sort_keys=False, allow_unicode=True
    )
    parts = [
        f"---\n{front}---",
        f"# {md(data['task']['name'])}: {md(name)}",
        _what(data, name, entry, {one.modality for one in specs}),
        "\n".join(_map(data, entry, opened)),
        _results(data, name, entry),
        _data(data, entry),
        _limits(data),
        f"## Use\n\n{usage(run, name)}",
    ]
    return "\n\n".join(parts) + "\n"


def _opened(run: str | Path, name: str) -> System | None:
    from ...serving.loading import open_system

    try:
        return open_system(run, system=name)
    except (AffektError, OSError):
        return None  # the section on use says why


def _what(data: Mapping[str, Any], name: str, entry: Mapping[str, Any], reads: set[str]) -> str:
    labels = ", ".join(md(label) for label in data["task"]["labels"])
    named = {"audio": "clips of speech", "text": "texts"}
    clips = named.get("".join(reads), "clips of speech or text")  # of both
    lines = [f"Classifies {clips} into **{labels}**."]
    if scales := data["task"].get("dimensions"):
        ranges = [f"{md(n)} ({s['range'][0]:g} to {s['range'][1]:g})" for n, s in scales.items()]
        lines = [f"Predicts numbers for {clips}: **{', '.join(ranges)}**."]
    if entry["kind"] == "ensemble":
        members = ", ".join(md(member) for member in entry["members"])
        lines.append(f"It is an ensemble ({md(entry['strategy'])}) of {members}.")
    if data["chosen"] == name:
        why = f": {found}" if (found := why_chosen(data)) else ""
        lines.append(f"It was chosen on dev{why}.")
    if uses := data.get("test_uses"):
        lines.append(test_uses(uses))
    return " ".join(lines)


def _map(data: Mapping[str, Any], entry: Mapping[str, Any], system: System | None) -> Iterator[str]:
    """Yield how the system is made: what each member reads, and what its labels stand for."""
    trained = data.get("run", {}).get("members", {})
    weights = (entry.get("learnt") or {}).get("weights") or {}
    yield from ["## How it is made", ""]
    yield "| member | reads | head |" + (" weight |" if weights else "")
    yield "| --- | --- | --- |" + (" ---: |" if weights else "")
    for member in entry["members"]:
        parts = trained.get(member, {}).get("parts", [])
        reads, head = _reads(member, parts, system), _head(parts)
        weight = f" {weights.get(member, 0):.3f} |" if weights else ""
        yield f"| {md(member)} | {reads} | {head} |{weight}"
    if made := data.get("made"):
        yield from ["", f"Made with affekt {md(made['affekt'])}, {md(made['date'])}."]
    task = next(iter(system.models.values())).task if system else None
    if task and task.map:
        raw = {one: sorted(r for r, to in task.map.items() if to == one) for one in task.labels}
        if max(map(len, raw.values())) > MOST_RAW_LABELS:
            yield from ["", "Which labels of corpora each label stands for is in config.json."]
            return
        yield from ["", "| label | stands for the labels |", "| --- | --- |"]
        for label, some in raw.items():
            yield f"| {md(label)} | {', '.join(map(md, some))} |"


def _reads(member: str, parts: list[Mapping[str, Any]], system: System | None) -> str:
    """Return encoders and layers, by the names of the encoders where the models are there."""
    layers = parts[0].get("chosen", {}).get("layers", {}) if parts else {}
    if system and member in system.models and len(system.models[member].needs) == len(layers):
        specs = [need.spec for need in system.models[member].needs]
        names = [f"{one.modality}: {one.fields['encoder']['name']}" for one in specs]
    else:
        names = list(layers)
    return "; ".join(
        f"{md(encoder)}, layer {md(layer)}"
        for encoder, layer in zip(names, layers.values(), strict=True)
    )


def _head(parts: list[Mapping[str, Any]]) -> str:
    """Return the head and what dev chose for it; folds may have chosen differently."""
    if not parts or "trained" not in parts[0]:
        return ""
    chosen = [part.get("chosen", {}).get("settings", {}) for part in parts]
    settings = [
        f"{md(key)} {md(', '.join(dict.fromkeys(str(one.get(key)) for one in chosen)))}"
        for key in chosen[0]
    ]
    return ", ".join([md(parts[0]["trained"]["head"]), *settings])


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
        if column == groups["column"]:
            lines += ["", _range_of_groups(table, name, lead, title, noun)]
            continue
        if other := divides_like(data, column):
            lines += [
                "",
                f"The same by {md(column)}, which divides these clips as {md(other)} does.",
            ]
            continue
        lines += ["", f"| {md(column)} | clips | {title} |", "| --- | ---: | ---: |"]
        for value, row in table["values"].items():
            score = _score(row["systems"][name][lead])
            lines.append(f"| {md(value)} | {row['clips']} | {score} |")
    return "\n".join(lines)


def _range_of_groups(table: Mapping[str, Any], name: str, lead: str, title: str, noun: str) -> str:
    """Say how much speakers differ, without naming one."""
    values = [row["systems"][name][lead]["value"] for row in table["values"].values()]
    values = sorted(value for value in values if value is not None)
    if not values:
        return f"No {title} for single {noun}."
    return f"{title} of single {noun}: {values[0]:.3f} to {values[-1]:.3f}."


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


def _data(data: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    lines = ["## Data", ""]
    splits = data.get("run", {}).get("splits", [])
    which = f" the first of {len(splits)} folds," if len(splits) > 1 else ""
    for split in splits[:1]:
        lines.append(f"Split by {md(split['scheme'])},{which} hash `{split['hash'][:16]}`:")
        lines += ["", "| part | clips | speakers | labels |", "| --- | ---: | ---: | --- |"]
        for part, one in split["parts"].items():
            labels = ", ".join(f"{md(label)} {n}" for label, n in one["labels"].items())
            lines.append(f"| {part} | {one['clips']} | {one['speakers'] or 'unknown'} | {labels} |")
        lines.append("")
    trained = data.get("run", {}).get("members", {})
    languages: dict[str, int] = {}
    for member in entry["members"]:
        for part in trained.get(member, {}).get("parts", []):
            for language, clips in (
                part.get("fit", {}).get("train", {}).get("languages", {}).items()
            ):
                languages[language] = max(clips, languages.get(language, 0))
    if any(languages):
        counts = ", ".join(
            f"{md(one) or 'unknown'} {clips}" for one, clips in sorted(languages.items())
        )
        each = " (most of any fold)" if len(splits) > 1 else ""
        lines += [f"Clips of each language in training{each}: {counts}.", ""]
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
        "It was scored on the languages and corpora above and on no other; elsewhere its scores "
        "may be far lower. A label is what raters or actors meant, not what a person feels. Do not "
        "use it to judge people: in hiring, policing, insurance, or at work. In the European Union "
        "it is forbidden to infer emotions of people at work and in education (Regulation "
        "2024/1689, Article 5), except for medical or safety reasons.",
    ]
    if data["warnings"]:
        lines += ["", "What the comparison warns of:", ""]
        lines += [f"- {md(warning)}" for warning in data["warnings"]]
    return "\n".join(lines)
