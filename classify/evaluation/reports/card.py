"""A model card for what a run chose, as the Hub shows it; it holds no number of its own.

Every number is one of `comparison.json`. What is not in the data (where the recordings come from,
who consented) is left as a question, not invented.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ....cache.errors import AffektError, shaped
from ...data.escape import md
from ...models.folders.run_folder import chosen_system
from ...serving.loading import open_system
from ..comparison import Comparison
from .card_metadata import metadata
from .markdown.choice_on_dev import test_uses, why_chosen
from .markdown.column_tables import divides_like, row_name
from .markdown.markdown_tables import score
from .markdown.system_order import chance, columns, groups_of, has_intervals
from .sections import Table

if TYPE_CHECKING:
    from ...models.new_clips.system import System

SAID = "What a wonderful day!"
MOST_RAW_LABELS = 12  # of one label; a task that ships with affekt has dozens


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
    with shaped(run, "a comparison written by affekt; run or compare again"):
        return _card(run, data, system)


def _card(run: str | Path, data: Mapping[str, Any], system: str | None) -> str:
    name = chosen_system(data, run, system)
    entry, opened = data["systems"][name], None
    try:
        opened = open_system(run, system=name)
        use = _usage(opened, run, name)
    except (AffektError, OSError) as error:
        use = f"This folder predicts no new clips: {error}"
    specs = opened.specs() if opened else []
    reads = {one.modality for one in specs}
    kind = "text-classification" if reads == {"text"} else "audio-classification"
    front = yaml.safe_dump(metadata(data, name, kind, specs), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{front}---",
        f"# {md(data['task']['name'])}: {md(name)}",
        _what(data, name, entry, reads),
        *_map(data, entry, opened),
        _results(data, name, entry),
        _data(data, entry),
        _limits(data),
        f"## Use\n\n{use}",
    ]
    return "\n\n".join(map(str, parts)) + "\n"


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
        learnt, how = entry.get("learnt") or {}, data["settings"]
        if "calibration" in learnt:
            lines.append(f"The members were calibrated on dev before ({how['calibrate']}).")
        if "calibration_fused" in learnt:
            lines.append(f"What it gives is calibrated on dev ({how['calibrate_fused']}).")
    if data["chosen"] == name:
        why = f": {found}" if (found := why_chosen(data)) else ""
        lines.append(f"It was chosen on dev{why}.")
    if uses := data.get("test_uses"):
        lines.append(test_uses(uses))
    return " ".join(lines)


def _weight(found: Any, task: Mapping[str, Any]) -> str:
    """Return a member's weight, or those of each dimension."""
    if not isinstance(found, list):
        return f"{found:.3f}"
    each = zip(task["labels"], found, strict=True)
    return ", ".join(f"{md(name)} {weight:.3f}" for name, weight in each)


def _map(data: Mapping[str, Any], entry: Mapping[str, Any], system: System | None) -> Iterator[Any]:
    """Yield how the system is made: what each member reads, and what its labels mean."""
    trained = data.get("run", {}).get("members", {})
    weights = (entry.get("learnt") or {}).get("weights") or {}
    rows = []
    for member in entry["members"]:
        parts = trained.get(member, {}).get("parts", [])
        weight = [_weight(weights.get(member, 0), data["task"])] if weights else []
        rows.append([md(member), _reads(member, parts, system), _head(parts), *weight])
    header = ["member", "reads", "head", *(["weight"] if weights else [])]
    yield f"## How it is made\n\n{Table(header, rows, left=3)}"
    if made := data.get("made"):
        yield f"Made with affekt {md(made['affekt'])}, {md(made['date'])}."
    task = next(iter(system.models.values())).task if system else None
    if task and task.map:
        raw = {one: sorted(r for r, to in task.map.items() if to == one) for one in task.labels}
        if max(map(len, raw.values())) > MOST_RAW_LABELS:
            yield "Which labels of corpora each label stands for is in config.json."
            return
        rows = [
            [md(label), ", ".join(map(md, some))] for label, some in raw.items() if some != [label]
        ]
        if not rows:
            return
        yield Table(["label", "stands for the labels"], rows, left=2)


def _reads(member: str, parts: list[Mapping[str, Any]], system: System | None) -> str:
    """Return encoders and layers, by the names of the encoders where the models are there."""
    chosen = [part.get("chosen", {}).get("layers", {}) for part in parts]
    layers = {  # folds may have chosen differently
        on: " or ".join(dict.fromkeys(md(one[on]) for one in chosen if on in one))
        for on in (chosen[0] if chosen else {})
    }
    if system and member in system.models and len(system.models[member].needs) == len(layers):
        specs = [need.spec for need in system.models[member].needs]
        names = [f"{one.modality}: {one.fields['encoder']['name']}" for one in specs]
    else:
        names = list(layers)
    return "; ".join(
        f"{md(encoder)}, layer {layer}"
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
    noun = md(groups_of(data))
    if not has_intervals(data):
        spread = f"{groups['count']} {noun}: too few for intervals"
    else:
        crossed = f" and values of {md(groups['crossed'])}" if groups.get("crossed") else ""
        level = f"{100 * data['settings']['level']:g}"
        spread = f"{level} % intervals over {groups['count']} {noun}{crossed}"
    note = f"chance is {chance(data):.3f} UAR"
    if numeric:
        note = "CCC and r are means over dimensions, the error is a share of the scale's range"
    measures = [[label, score(entry["test"][key])] for key, label in columns(data)]
    parts = [
        f"## Results\n\nOn {data['test']['clips']} test clips, {spread}; {note}.",
        Table(["measure", "test"], measures),
        _each_dimension(entry) if numeric else _each_label(entry),
    ]
    lead, title = columns(data)[0]
    for column, found in data["by"].items():
        if column == groups["column"]:
            parts.append(_range_of_groups(found, name, lead, title, noun))
        elif other := divides_like(data, column):
            parts.append(
                f"The same by {md(column)}, which divides these clips as {md(other)} does."
            )
        else:
            rows = [
                [row_name(value, row), str(row["clips"]), score(row["systems"][name][lead])]
                for value, row in found["values"].items()
            ]
            parts.append(Table([md(column), "clips", title], rows))
    return "\n\n".join(map(str, parts))


def _range_of_groups(found: Mapping[str, Any], name: str, lead: str, title: str, noun: str) -> str:
    """Say how much speakers differ, without naming one."""
    values = [row["systems"][name][lead]["value"] for row in found["values"].values()]
    values = sorted(value for value in values if value is not None)
    if not values:
        return f"No {title} for single {noun}."
    return f"{title} of single {noun}: {values[0]:.3f} to {values[-1]:.3f}."


def _each_label(entry: Mapping[str, Any]) -> Table:
    rows = [
        [md(label), f"{one['recall']:.3f}", f"{one['precision']:.3f}", str(one["support"])]
        for label, one in entry["test"]["classes"].items()
    ]
    return Table(["label", "recall", "precision", "clips"], rows)


def _each_dimension(entry: Mapping[str, Any]) -> Table:
    rows = [
        [md(name), *(score(one[key]) for key in ("ccc", "pearson", "error")), str(one["clips"])]
        for name, one in entry["test"]["dimensions"].items()
    ]
    return Table(["dimension", "CCC", "Pearson r", "mean absolute error", "clips"], rows)


def _data(data: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    parts = ["## Data"]
    splits = data.get("run", {}).get("splits", [])
    which = f" the first of {len(splits)} folds," if len(splits) > 1 else ""
    for split in splits[:1]:
        labels = "labels"
        if data.get("measure") == "ccc":
            labels = f"thirds of the scale of {md(data['task']['labels'][0])}"
        rows = [f"| part | clips | speakers | {labels} |", "| --- | ---: | ---: | --- |"]
        for part, one in split["parts"].items():
            labels = ", ".join(f"{md(label)} {n}" for label, n in one["labels"].items())
            rows.append(f"| {part} | {one['clips']} | {one['speakers'] or 'unknown'} | {labels} |")
        parts += [
            f"Split by {md(split['scheme'])},{which} hash `{split['hash'][:16]}`:",
            "\n".join(rows),
        ]
    trained = data.get("run", {}).get("members", {})
    languages: dict[str, int] = {}
    for member in entry["members"]:
        for part in trained.get(member, {}).get("parts", []):
            train = part.get("fit", {}).get("train", {})
            for language, clips in train.get("languages", {}).items():
                languages[language] = max(clips, languages.get(language, 0))
    if any(languages):
        counts = ", ".join(
            f"{md(one) or 'unknown'} {clips}" for one, clips in sorted(languages.items())
        )
        each = " (most of any fold)" if len(splits) > 1 else ""
        parts.append(f"Clips of each language in training{each}: {counts}.")
    parts += [
        f"Task `{md(data['task']['name'])}`, hash `{data['task']['hash'][:16]}`.",
        "Where do the recordings come from, who is heard, what did they consent to, under which "
        "licence? *(to be filled in by hand)*",
    ]
    return "\n\n".join(parts)


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


def _usage(system: System, run: str | os.PathLike[str], name: str) -> str:
    """Return how to predict new clips with a system of a run; each command works as printed."""
    place = _short(run)
    words = ["affekt", "predict", place, "--system", name, *_inputs(system)]
    gone = _missing_encoders(system)
    for folder in gone:
        words += ["--encoder", folder]
    lines = ["With affekt (`pip install affekt`):", "", "```bash", shlex.join(words), "```"]
    if len(system.models) == 1 and not system.folds:
        words[2:5] = ["OWNER/NAME"]
        lines += ["", "From the Hub, where OWNER/NAME is the repository of this model:", ""]
        lines += ["```bash", shlex.join(words), "```"]
    if gone:
        lines += ["", f"`--encoder` names the folder of {', '.join(gone)}, wherever it is now."]
    return "\n".join(lines)


def _inputs(system: System) -> list[str]:
    """Return the arguments that name a clip with every side that the system reads."""
    if any(isinstance(model.scaling.scale, str) for model in system.models.values()):
        return ["clips.csv"]  # one clip alone cannot be scaled within its speaker
    reads = {spec.modality for spec in system.specs()}
    audio = ["clip.wav"] if "audio" in reads else []
    return audio + (["--text", SAID] if "text" in reads else [])


def _missing_encoders(system: System) -> list[str]:
    """Return the names of encoders that were folders and are not where they were."""
    found = {}
    for model in system.models.values():
        for need in model.needs:
            encoder = need.spec.fields["encoder"]
            noted = model.encoder_folders.get(need.spec.key)
            if encoder.get("origin") == "folder" and (noted is None or not noted.is_dir()):
                found[encoder["name"]] = True
    return list(found)


def _short(run: str | os.PathLike[str]) -> str:
    """Return a path without this machine's folders above the working folder."""
    path = Path(run)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    text = str(path)
    return f"./{text}" if text.startswith("-") else text
