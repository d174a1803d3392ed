"""`affekt compare RUN RUN ...`: what several runs show together, one for each corpus."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .....cache.errors import InputError, counted, listed, one_of
from ....data.escape import md
from ...across_runs import across
from .markdown_tables import MEASURES, aligned, table
from .shared_sections import by_rank

FILE = "runs.json"
OTHERS = ("comparison.json", "repeats.json", "split.csv", "members")  # of a run


def is_run_place(text: str) -> bool:
    """Whether an argument of `compare` is the folder or the comparison of a run."""
    path = Path(text)
    return path.is_dir() or path.name in ("comparison.json", "repeats.json")


def compare_runs(
    places: Sequence[str | Path], *, measure: str = "uar", rope: float = 0.02, random_state: int = 0
) -> dict[str, Any]:
    """Compare the systems that several runs have in common, one run for each corpus.

    Parameters
    ----------
    places
        Folders of runs, or their `comparison.json` or `repeats.json`; ``NAME=FOLDER`` names one.
    measure
        ``uar``, ``accuracy``, ``macro_f1`` or ``weighted_f1``, on test.
    rope, random_state
        As for `across`.

    Returns
    -------
    result
        As `across`; and ``corpora``, the clips and task of each run, ``left_out``, systems that
        some runs do not have.
    """
    one_of(measure, MEASURES, "--measure")
    if not 0 <= rope < 1:
        raise InputError(f"--rope is {rope}; expected a difference from 0 to 1, as 0.02")
    corpora: dict[str, dict[str, Any]] = {}
    scores: dict[str, dict[str, float]] = {}
    files: dict[str, Path] = {}
    for place in places:
        name, path, data = _read(str(place))
        if name in corpora:
            raise InputError(f"two runs are called {name!r}; name them: NAME={path}")
        if data.get("measure", "uar") != "uar":
            raise InputError(
                f"{path} compares systems that predict numbers (by {data['measure'].upper()}), and "
                "runs are compared by measures of labels; expected runs of a task of labels"
            )
        test = data.get("test", {})
        files[name] = _predictions(path, data)
        for other, known in corpora.items():
            if test and known["manifest"] == test["manifest"]:
                pair = " ".join(f"{one}={files[one]}" for one in (other, name))
                raise InputError(
                    f"{name!r} and {other!r} test the same clips; expected one run for each corpus."
                    f" Compare their predictions: affekt compare {pair} --truth MANIFEST"
                )
        corpora[name] = {
            "place": str(path),
            "task": data["task"]["name"],
            "clips": test.get("clips"),
            "manifest": test.get("manifest"),
        }
        scores[name] = _scores(data, measure)
    found = [set(own) for own in scores.values()]
    names = [one for one in next(iter(scores.values())) if all(one in own for own in found)]
    if len(names) < 2:
        raise InputError(
            f"the runs have {counted(len(names), 'system')} in common"
            f" ({', '.join(names) or 'none'}); expected"
            " at least two. Give members of a kind the same name in every recipe"
        )
    result = across(
        {name: [own[name] for own in scores.values()] for name in names},
        rope=rope,
        random_state=random_state,
    )
    left = sorted(set.union(*found) - set(names))
    return {"format": 1, "measure": measure, "corpora": corpora, "left_out": left, **result}


def _predictions(path: Path, data: Mapping[str, Any]) -> Path:
    """Return the file with what a run's chosen member predicts, or where all of them are."""
    members = (path if path.is_dir() else path.parent) / "members"
    chosen = members / str(data.get("chosen")) / "pred.csv"
    return chosen if chosen.is_file() else members / "NAME" / "pred.csv"


def _read(place: str) -> tuple[str, Path, dict[str, Any]]:
    from .....cache.files.reading import read_object
    from ....models.folders.run_folder import readable_name
    from ...comparison import Comparison

    name, sign, rest = place.partition("=")
    path = Path(place if Path(place).exists() or not sign else rest)
    folder = path if path.is_dir() else path.parent
    if not sign or Path(place).exists():
        resolved = folder.resolve()
        name = readable_name(folder) if resolved.name == "out" else resolved.name
    repeats = folder / "repeats.json" if path.is_dir() else path
    if repeats.name == "repeats.json" and repeats.is_file():
        return name, path, read_object(repeats, "the repeats of a run", lenient=True)
    return name, path, Comparison.read(path).data


def _scores(data: Mapping[str, Any], measure: str) -> dict[str, float]:
    """Return the test score of each system; of repeats the mean."""
    found = {}
    for name, one in data["systems"].items():
        value = one["test"][measure]["value"] if "test" in one else one[measure]["mean"]
        if value is not None:
            found[name] = float(value)
    return found


def _sentence(pair: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    first, second, difference = pair["first"], pair["second"], pair["difference"]
    better, worse = (first, second) if difference >= 0 else (second, first)
    wins = pair["wins"] if better == first else pair["losses"]
    posterior = pair["posterior"]
    probable = posterior["first" if better == first else "second"]
    text = (
        f"{better} over {worse}: {abs(difference):.3f} on average, better on {wins} of "
        f"{data['runs']}; signed rank p {pair['p']:.4f}, corrected {pair['p_corrected']:.4f}; "
        f"better by more than {data['rope']:g} with probability {probable:.2f}, equal "
        f"{posterior['equal']:.2f}"
    )
    if pair["p_corrected"] < data["alpha"]:
        return text + ". A difference is shown"
    if posterior["equal"] > 1 - data["alpha"]:
        return text + ". Practically equal"
    return text + ". Neither a difference nor equality is shown"


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
        "Every corpus counts the same, however many clips it has. The tests speak of corpora like "
        "these; the uncertainty of each single score is in the report of its run."
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
        f"{_sentence(pair, data)}."
    )


def runs_text(data: Mapping[str, Any]) -> str:
    """Return the result of `compare_runs` as plain text."""
    rows = [["system", f"mean {MEASURES[data['measure']]}", "mean rank", *data["corpora"]]]
    rows += _rows(data)
    pairs = [f"{_sentence(pair, data)}." for pair in _sorted(data)]
    return "\n".join([*aligned(rows), "", *pairs, "", *_remarks(data)])


def runs_markdown(data: Mapping[str, Any]) -> str:
    """Return the result of `compare_runs` as Markdown."""
    measure = MEASURES[data["measure"]]
    header = ["system", f"mean {measure}", "mean rank", *map(md, data["corpora"])]
    parts = [
        f"# {len(data['systems'])} systems on {data['runs']} corpora",
        md(_answer(data)),
        f"{measure} on the test clips of each run; rank 1 is best.",
        table(header, [[md(row[0]), *row[1:]] for row in _rows(data)]),
        "## Pairs",
        "\n".join(f"- {md(_sentence(pair, data))}." for pair in _sorted(data)),
        "p: Wilcoxon's signed-rank test over the corpora, corrected for all pairs by Holm. "
        "Probabilities: Bayesian signed-rank test with a region of practical equivalence of "
        f"{data['rope']:g}.",
        *_remarks(data),
        "## Runs",
        "\n".join(
            f"- {md(name)}: {md(one['task'])}, {one['clips'] or 'repeats: see its report for the'} "
            f"test clips, `{one['place']}`"
            for name, one in data["corpora"].items()
        ),
    ]
    return "\n\n".join(parts) + "\n"


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
    from .....cache.files.atomic_writes import write_whole
    from ..html.page import page

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    report = runs_markdown(data)
    files = {FILE: text, "report.md": report, "report.html": page(data, report)}
    for name, content in files.items():
        write_whole(folder / name, content)
    return folder / "report.html"
