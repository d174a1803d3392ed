"""The sections of a report that not every comparison has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .escape import md
from .markdown import score, table

Data = Mapping[str, Any]


def sections(data: Data, best: str) -> list[str]:
    """Return the sections that the data holds, as Markdown.

    Parameters
    ----------
    data
        `Comparison.data`.
    best
        The system that curves and sets are of.
    """
    found = []
    for key, write in (
        ("audit", _audit),
        ("diversity", _diversity),
        ("calibration", _calibration),
        ("seeds", _seeds),
        ("transfer", _transfer),
    ):
        if data.get(key):
            found.append(write(data[key]))
    if data.get("learning_curve"):
        found.append(_learning(data["learning_curve"], data.get("learning_curve_of") or ""))
    if data.get("abstain"):
        found.append(_abstain(data["abstain"], best))
    if data.get("conformal"):
        found.append(_conformal(data["conformal"], best))
    return found


def _audit(audit: Data) -> str:
    rows = [
        [md(name), score(row["uar"]), str(row["clips"]), "**above chance**" * row["shortcut"]]
        for name, row in audit["factors"].items()
    ]
    return (
        "## Shortcuts\n\nHow well each factor alone, learnt on train, predicts the label on test. "
        f"Chance is {audit['chance']:.3f}. A factor above chance is a way to be right without "
        "hearing an emotion; *words* is what a naive Bayes on the text gives, *script* the exact "
        "text.\n\n" + table(["factor", "UAR", "clips", ""], rows)
    )


def _diversity(found: Data) -> str:
    rows = [
        [
            f"{md(pair['a'])} and {md(pair['b'])}",
            *(number(pair[key]) for key in ("error_overlap", "q", "kappa", "disagreement")),
        ]
        for pair in found["pairs"]
    ]
    text = (
        "## Diversity\n\n"
        f"Some member is right on {100 * found['oracle']:.1f} % of the clips, all are right on "
        f"{100 * found['all_right']:.1f} %, all are wrong on {100 * found['all_wrong']:.1f} %.\n\n"
        + table(["members", "errors shared", "Q", "kappa", "disagreement"], rows)
    )
    if "ablation" not in found:
        return text
    rows = [[md(name), f"{change:+.3f}"] for name, change in found["ablation"]["without"].items()]
    return (
        f"{text}\n\nUAR of the mean of all members is {found['ablation']['uar']:.3f}; without one "
        "of them it changes by:\n\n" + table(["left out", "UAR"], rows)
    )


def _calibration(found: Data) -> str:
    rows = [
        [
            md(name),
            *(number(row[key]) for key in ("temperature", "ece", "ece_calibrated")),
            *(number(row[key]) for key in ("nll", "nll_calibrated")),
        ]
        for name, row in found.items()
    ]
    return (
        "## Calibration\n\nA temperature above 1 means that a member was too sure on dev. ECE and "
        "NLL on test, as it is and at that temperature:\n\n"
        + table(["member", "temperature", "ECE", "calibrated", "NLL", "calibrated"], rows)
    )


def _seeds(found: Data) -> str:
    rows = [
        [
            md(name),
            str(len(row["seeds"])),
            *(number(row[key]) for key in ("mean", "sd", "low", "high", "error_of_clips")),
            f"{100 * row['share']:.0f} %" if row["share"] is not None else "-",
        ]
        for name, row in found.items()
    ]
    header = ["member", "seeds", "mean UAR", "sd", "lowest", "highest", "error of clips", "share"]
    return (
        "## Seeds\n\nSpread of UAR over training seeds, beside the standard error that the choice "
        "of test speakers gives; share is the part of seeds in the variance of one run.\n\n"
        + table(header, rows)
    )


def _learning(points: Sequence[Data], name: str) -> str:
    rows = [
        [f"{100 * p['share']:g} %", str(p["clips"]), str(p["groups"]), score(p["uar"])]
        for p in points
    ]
    of = f": {md(name)}" if name else ""
    return f"## Learning curve{of}\n\n" + table(["train", "clips", "groups", "UAR on test"], rows)


def _transfer(found: Data) -> str:
    return (
        f"## Transfer by {md(found['by'])}\n\nUAR; rows are trained on, columns tested on; the "
        "diagonal is cross-validated over speakers.\n\n" + transfer_table(found)
    )


def transfer_table(found: Data) -> str:
    """Return a transfer matrix as a Markdown table."""
    names = found["names"]
    rows = [
        [md(here), *(score(found["cells"][here][there]["uar"]) for there in names)]
        for here in names
    ]
    return table(["", *map(md, names)], rows)


def _abstain(found: Data, best: str) -> str:
    rows = [[f"{100 * p['coverage']:.0f} %", f"{100 * p['risk']:.1f} %"] for p in found["curve"]]
    text = (
        f"## Answering only when sure: {md(best)}\n\nError rate among the surest clips; area under "
        f"the whole curve {found['area']:.3f}.\n\n" + table(["answered", "errors"], rows)
    )
    if "thresholds" not in found:
        return text
    rows = [
        [
            f"{100 * row['accuracy_on_dev']:g} %",
            number(row["threshold"]) if row["threshold"] is not None else "none reaches it",
            f"{100 * row['coverage']:.1f} %",
            f"{100 * row['accuracy']:.1f} %" if row["accuracy"] is not None else "-",
        ]
        for row in found["thresholds"]
    ]
    return f"{text}\n\nThresholds that reach an accuracy on dev, and what they do on test:\n\n" + (
        table(["accuracy on dev", "threshold", "answered", "accuracy on test"], rows)
    )


def _conformal(found: Data, best: str) -> str:
    rows = []
    for part in found.values():
        promised = f"{100 * part['promised']:g} %"
        for name, row in {"all": part["all"], **part.get("by", {})}.items():
            rows.append(
                [
                    promised,
                    md(name or "(blank)"),
                    str(row["clips"]),
                    f"{100 * row['coverage']:.1f} %",
                    f"{row['mean_size']:.2f}",
                    f"{100 * row['singletons']:.0f} %",
                ]
            )
    header = ["promised", "language", "clips", "held", "labels in a set", "single"]
    return (
        f"## Conformal sets: {md(best)}\n\nSets of labels, fitted on dev for each language, that "
        "hold the true label as often as promised if dev and test are alike; new speakers strain "
        "that.\n\n" + table(header, rows, left=2)
    )


def number(value: float | None) -> str:
    """Return a number with three digits, or "-"."""
    return "-" if value is None else f"{value:.3f}"
