"""The report of `affekt compare RUN RUN ...`: what several runs show together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .....cache.commands.terminal import aligned
from .....cache.errors import InputError, listed
from .....cache.files.atomic_writes import write_json, write_whole
from .....cache.files.file_locks import locked
from ....data.escape import md
from ...scores.verdicts import verdict_over_corpora
from ..html.page import page
from ..sections import Section, Table, as_markdown
from .markdown_tables import MEASURES
from .system_order import by_rank

FILE = "runs.json"
OTHERS = ("comparison.json", "repeats.json", "split.csv", "members")  # of a run


def _sorted(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(data["pairs"], key=lambda pair: (pair["p"], -abs(pair["difference"])))


def _remarks(data: Mapping[str, Any]) -> list[str]:
    lines = []
    if data["runs"] < data["needed"]:
        lines.append(
            f"With {data['runs']} corpora and {len(data['pairs'])} pairs no corrected p can be "
            f"below {data['alpha']:g}: {data['needed']} corpora would be needed, or fewer systems."
        )
    if data["friedman"]:
        lines.append(
            f"Friedman's test that all systems are alike: p {data['friedman']['p']:.4f}. Mean "
            f"ranks differ where they are {data['critical_difference']:.2f} or more apart "
            "(Nemenyi); these also depend on which other systems take part, so the signed-rank "
            "tests of the pairs come first."
        )
    tasks = {one["task"] for one in data["corpora"].values()}
    if len(tasks) > 1:
        lines.append(f"The runs have different tasks: {', '.join(sorted(tasks))}.")
    if data["left_out"]:
        lines.append(f"Not in every run, so left out: {listed(data['left_out'], 12)}.")
    lines.append(
        "Every corpus counts the same, however many clips it has. The tests generalise to "
        "corpora like these; the uncertainty of a single score is in the report of its run."
    )
    return lines


def _rows(data: Mapping[str, Any]) -> list[list[str]]:
    return [
        [name, f"{one['mean']:.3f}", f"{one['rank']:.2f}", *(f"{v:.3f}" for v in one["scores"])]
        for name, one in by_rank(data)
    ]


def _answer(data: Mapping[str, Any]) -> str:
    """Return which system is best, and whether it differs from the second."""
    (best, one), (second, _) = by_rank(data)[:2]
    [pair] = [x for x in data["pairs"] if {x["first"], x["second"]} == {best, second}]
    return (
        f"{best} has the best mean rank, {one['rank']:.2f} of {len(data['systems'])} systems, and "
        f"a mean {MEASURES[data['measure']]} of {one['mean']:.3f} over {data['runs']} corpora. "
        f"{verdict_over_corpora(pair, data)}."
    )


def runs_text(data: Mapping[str, Any]) -> str:
    """Return the result of `compare_runs` as plain text."""
    rows = [["system", f"mean {MEASURES[data['measure']]}", "mean rank", *data["corpora"]]]
    rows += _rows(data)
    pairs = [f"{verdict_over_corpora(pair, data)}." for pair in _sorted(data)]
    return "\n".join([*aligned(rows), "", *pairs, "", *_remarks(data)])


def runs_sections(data: Mapping[str, Any]) -> list[Section]:
    """Return the report of `compare_runs`."""
    measure = MEASURES[data["measure"]]
    header = ["system", f"mean {measure}", "mean rank", *map(md, data["corpora"])]
    systems = [
        md(_answer(data)),
        f"{measure} on the test clips of each run; rank 1 is best.",
        Table(header, [[md(row[0]), *row[1:]] for row in _rows(data)]),
    ]
    pairs = [
        [f"{md(verdict_over_corpora(pair, data))}." for pair in _sorted(data)],
        "p: Wilcoxon's signed-rank test over the corpora, corrected for all pairs by Holm. "
        "Probabilities: Bayesian signed-rank test with a region of practical equivalence of "
        f"{data['rope']:g}.",
        *_remarks(data),
    ]
    runs = [
        f"{md(name)}: {md(one['task'])}, {one['clips'] or 'repeats: see its report for the'} "
        f"test clips, `{one['place']}`"
        for name, one in data["corpora"].items()
    ]
    return [
        Section(f"{len(data['systems'])} systems on {data['runs']} corpora", systems),
        Section("Pairs", pairs),
        Section("Runs", [runs]),
    ]


def check_runs_folder(folder: Path) -> None:
    """Refuse, before any work, a folder in which another command left its report."""
    there = [name for name in OTHERS if (folder / name).exists()]
    if not (folder / FILE).exists():
        there += [name for name in ("report.md", "report.html") if (folder / name).exists()]
    if there or folder.is_file():
        what = f"holds {there[0]}, which this command did not write" if there else "is a file"
        raise InputError(f"-o {folder} {what}; choose another folder")


def write_runs(folder: Path, data: Mapping[str, Any]) -> Path:
    """Write `runs.json`, `report.md` and `report.html` into a folder of `check_runs_folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    report = runs_sections(data)
    with locked(folder, wait=True):
        write_json(folder / FILE, data)
        write_whole(folder / "report.md", as_markdown(report))
        write_whole(folder / "report.html", page(data, report))
    return folder / "report.html"
