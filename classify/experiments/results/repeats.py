"""Repeated divisions of one corpus: each repeat is a comparison of its own, summarised here.

The repeats share most of their clips, so the plain standard error of their mean is too small; its
variance is multiplied by ``1 + repeats * test / train`` (Nadeau and Bengio, 2003). Where each
repeat tests every clip, in folds, repeats do not show what other speakers would give: the interval
is then the mean of those of the repeats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.commands.terminal import aligned
from ....cache.files.atomic_writes import write_json, write_whole
from ...data.escape import md
from ...ensembles.combining import free_name
from ...evaluation.reports.html.page import page
from ...evaluation.reports.markdown.markdown_tables import (
    MEASURES,
    has_mean_intervals,
    mean_uar,
    score,
)
from ...evaluation.reports.sections import Section, Table, as_markdown
from ...metrics.intervals import student

if TYPE_CHECKING:
    from ...data.splitting.split import Split
    from ...evaluation.comparison import Comparison

REPEATS = "repeats.json"
CHOSEN = "(what dev chose)"
ABOUT_SPLITS = (
    "(Student's t, its variance enlarged because repeats share clips: Nadeau and Bengio, 2003). It "
    "says how much the division matters; the intervals of each repeat say what other speakers "
    "would give."
)
ABOUT_FOLDS = (
    "(the mean of the intervals of the repeats): what other speakers would give. Every repeat "
    "tests all clips, so the deviation only says how much the division matters."
)
HEAD = ["system", "UAR", "sd", "lowest", "highest", *list(MEASURES.values())[1:]]
TOO_FEW = "too few speakers for intervals"


def spread(values: Sequence[float], overlap: float, level: float = 0.95) -> dict[str, Any]:
    """Return mean, standard deviation, range and interval of the mean over repeats.

    Parameters
    ----------
    values
        One score per repeat; at least two.
    overlap
        Test clips / train clips of a repeat.
    level
        Coverage aimed at.

    Examples
    --------
    >>> found = spread([0.6, 0.7, 0.8], overlap=0.25)
    >>> round(found["mean"], 3), round(found["sd"], 3), [round(x, 3) for x in found["interval"]]
    (0.7, 0.1, [0.371, 1.029])
    """
    mean, sd, half = student(values, level, overlap)
    return {
        "values": list(values),
        "mean": mean,
        "sd": sd,
        "interval": [mean - half, mean + half],
        "low": float(min(values)),
        "high": float(max(values)),
    }


def summarise(results: Mapping[str, Comparison], found: Sequence[Split]) -> dict[str, Any]:
    """Return the repeats' comparisons as one result, for JSON.

    Parameters
    ----------
    results
        Comparison of each repeat, by name.
    found
        Every split of every repeat.
    """
    datas = [result.data for result in results.values()]
    folds = len(found) > len(results)
    overlap = float(np.mean([len(split.test) / len(split.train) for split in found]))
    level = datas[0]["settings"]["level"]
    systems = [name for name in datas[0]["systems"] if all(name in d["systems"] for d in datas)]

    def spreads(names: Sequence[str]) -> dict[str, Any]:
        """Return the spread of every measure of a system, by its name in each repeat."""
        tests = [d["systems"][name]["test"] for d, name in zip(datas, names, strict=True)]
        made = {}
        for m in MEASURES:
            made[m] = spread([one[m]["value"] for one in tests], overlap, level)
            if folds:
                made[m]["interval"] = _mean_limits([one[m]["interval"] for one in tests])
        return made

    def place(name: str) -> tuple[float, float, str]:
        """Sort by dev UAR, without dev by that on test, as `system_order.ordered`."""
        ours = [data["systems"][name] for data in datas]
        dev = sum((one["dev"] or {}).get("uar") or 0.0 for one in ours)
        return -dev, -sum(one["test"]["uar"]["value"] for one in ours), name

    chosen = [data["chosen"] for data in datas]
    rows = {free_name(CHOSEN, systems): spreads(chosen)} if all(chosen) else {}
    rows |= {name: spreads([name] * len(datas)) for name in sorted(systems, key=place)}
    return {
        "format": 1,
        "task": datas[0]["task"],
        "level": level,
        "overlap": overlap,
        "folds": folds,
        "repeats": {
            name: {
                "folder": name.replace(" ", "-"),
                "test_clips": result.data["test"]["clips"],
                "groups": result.data["groups"],
                "chosen": result.data["chosen"],
            }
            for name, result in results.items()
        },
        "chosen": dict(Counter(name for name in chosen if name)),
        "systems": rows,
    }


def _mean_limits(intervals: Sequence[Sequence[float | None]]) -> list[float] | None:
    """Return the mean of intervals; None where there are none, with few speakers."""
    limits = np.array(intervals, float).mean(axis=0)  # None is NaN
    return None if np.isnan(limits).any() else limits.tolist()


def repeats_table(data: Mapping[str, Any]) -> str:
    """Return the main table as plain text: means over repeats, with sd and interval of UAR."""
    rows = [HEAD]
    for name, row in data["systems"].items():
        rows.append([name, *_cells(row)])
    lines = aligned(rows)
    foot = f"means over {len(data['repeats'])} repeats"
    level = f", with {100 * data['level']:g} % intervals"
    foot += level if has_mean_intervals(data) else f": {TOO_FEW}"
    foot += "\nin the order of dev UAR" if data["chosen"] else ""
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", foot])


def write_repeats(folder: Path, data: Mapping[str, Any]) -> None:
    """Write `repeats.json`, `report.md` and `report.html` into the folder of a run."""
    report = _sections(data)
    write_json(folder / REPEATS, data)
    write_whole(folder / "report.md", as_markdown(report))
    write_whole(folder / "report.html", page(data, report))


def _cells(row: Mapping[str, Any]) -> list[str]:
    values = [row["uar"][key] for key in ("sd", "low", "high")]
    values += [row[measure]["mean"] for measure in list(MEASURES)[1:]]
    return [score(mean_uar(row)), *(f"{value:.3f}" for value in values)]


def _sections(data: Mapping[str, Any]) -> list[Section]:
    repeats = data["repeats"]
    rows = [[md(name), *_cells(row)] for name, row in data["systems"].items()]
    single = [
        [md(name), *(f"{v:.3f}" for v in row["uar"]["values"])]
        for name, row in data["systems"].items()
    ]
    about = ABOUT_FOLDS if data.get("folds") else ABOUT_SPLITS
    interval = f", with the {100 * data['level']:g} % interval of the mean {about}"
    interval = interval if has_mean_intervals(data) else f": {TOO_FEW}."
    means = [
        "For each repeat the clips were split again, and every member and ensemble was trained "
        f"and chosen again. Means over repeats{interval}"
        + (" Order: what dev chose first, then by dev UAR." if data["chosen"] else ""),
        Table(HEAD, rows),
    ]
    each: list[Table | str] = [Table(["system", *repeats], single)]
    if data["chosen"]:
        counts = ", ".join(f"{md(name)} {count}" for name, count in data["chosen"].items())
        each.append(f"How often each was chosen on dev: {counts}.")
    links = [
        f"{name}: {one['test_clips']} test clips, `{one['folder']}/report.md`"
        for name, one in repeats.items()
    ]
    return [
        Section(f"{len(repeats)} repeats: {data['task']['name']}", means),
        Section("UAR of each repeat", each),
        Section("Each repeat", [links]),
    ]
