"""How a report was made: task, seed, splits, version, machine; what changed, what took how long."""

from __future__ import annotations

import platform
import shlex
import sys
from datetime import UTC, datetime
from typing import Any

import click

from affekt.machine import processors
from affekt.versions import version_of

from ....data.escape import md
from ....metrics.scored_clips import group_noun
from ..sections import Data, Section, Table
from .label_sections import some

LONGEST = 500  # characters of a command


def this_report(data: Data) -> Section:
    """Return where to look next, and what changed since the last report."""
    lines = [
        "`report.html` has the same with pictures, and the clips to read and hear; `figures/` "
        "has the pictures as files",
        "`comparison.json` has every number; the sections below explain and add to those above",
    ]
    if "run" in data:
        lines.append("`members/` has the models and their predictions")
    if made := data.get("made"):
        lines.append(f"made by affekt {md(made['affekt'])}, {md(made['date'])}{_since(made)}")
    return Section("This report", [lines])


def _since(made: Data) -> str:
    if "training" not in made:
        return ""
    if not made["last"]:
        return "; the first report in this folder"
    changed = [f"embedded {one['clips']} clips with {md(n)}" for n, one in _now(made["embedding"])]
    changed += [
        f"trained {md(name)}" + (f" ({md(one['why'])} changed)" if one["why"] else "")
        for name, one in _now(made["training"])
    ]
    same = "the members are unchanged"
    return f"; since the last report, of {md(made['last'])}: {', '.join(changed) or same}"


def _now(steps: Data) -> list[tuple[str, Data]]:
    return [(name, one) for name, one in steps.items() if one["now"]]


def _column(scale: Data) -> str:
    raters = scale.get("raters")
    return (
        f"mean of {some([md(one) for one in raters])}"
        if raters
        else f"column {md(scale['column'])}"
    )


def how_made(data: Data) -> Section:
    """Return task, clips, seed, command, machine, and the splits with their sizes."""
    setting, task, made = data["settings"], data["task"], data.get("made") or {}
    what = f"labels {some([md(label) for label in task['labels']])}"
    if scales := task.get("dimensions"):
        columns = [f"{md(name)} ({_column(one)})" for name, one in scales.items()]
        what = f"numbers {', '.join(columns)}"
    ties = "" if scales else f"ties go to {setting['ties']}; "
    lines = [
        f"task {md(task['name'])}, version {task['version']}, hash `{task['hash'][:16]}`, {what}",
        f"test clips `{data['test']['manifest'][:16]}`",
        f"{ties}seed {setting['random_state']}",
    ]
    if command := str(made.get("command") or "").replace("`", "'"):
        lines.append(f"command `{command}`")
    if made:
        lines.append(f"machine: {md(made['machine'])}")
    for split in data["splits"][:20]:
        name = f" {md(split['name'])}" if split["name"] else ""
        parts = f": {_sizes(split['parts'])}" if "parts" in split else ""
        lines.append(f"split {md(split['scheme'])}{name}, hash `{split['hash'][:16]}`{parts}")
    if setting["calibrate"]:
        lines.append(f"members calibrated on dev before they were combined: {setting['calibrate']}")
    if setting.get("calibrate_fused"):
        lines.append(f"ensembles calibrated on dev: {setting['calibrate_fused']}")
    return Section("How it was made", [lines])


def _sizes(parts: Data) -> str:
    """Return clips and speakers of each part of a split."""
    sizes = []
    for name, part in parts.items():
        count = part.get("speakers")
        speakers = f" of {count} {group_noun('speaker', count)}" if count else ""
        if part["clips"]:
            sizes.append(f"{name} {part['clips']} clips{speakers}")
    return "; ".join(sizes)


def times_section(data: Data) -> list[Section]:
    """Return how long embedding and training took; empty where nothing is known."""
    made = data.get("made") or {}
    rows = [
        [
            f"{doing} {md(name)}",
            str(one.get("clips", "")),
            f"{one['seconds']:.1f}",
            "this run" if one["now"] else "kept",
        ]
        for doing, steps in (("embedding with", "embedding"), ("training", "training"))
        for name, one in made.get(steps, {}).items()
        if one["seconds"] is not None
    ]
    text = (
        "Wall-clock seconds, including other work of the machine; for what was kept, those of the "
        "run that made it."
    )
    shown = Table(["step", "new clips", "seconds", "when"], rows)
    return [Section("What took how long", [text, shown])] if rows else []


def made() -> dict[str, Any]:
    """Return affekt's version, the time in UTC, the command (None from Python) and the machine.

    Examples
    --------
    >>> sorted(made())
    ['affekt', 'command', 'date', 'machine']
    """
    context = click.get_current_context(silent=True)
    own = context is not None and context.find_root().obj  # a command, in a process of its own
    command = shlex.join(["affekt", *sys.argv[1:]]) if own else None
    if command and len(command) > LONGEST:
        command = f"{command[:LONGEST]}…"
    parts = [platform.system(), platform.machine(), f"{processors()} processors"]
    return {
        "affekt": version_of("affekt") or "unknown",  # run from its sources
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": command,
        "machine": ", ".join([*parts, f"Python {platform.python_version()}"]),
    }
