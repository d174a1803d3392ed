"""The sections of a report that not every comparison has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....data.escape import md
from ....metrics.bootstrap import FEWEST_GROUPS
from ....metrics.pair_verdicts import p_text
from ....metrics.scored_clips import group_noun
from .label_sections import some
from .made_sections import made_lines
from .markdown_tables import score, table
from .shared_sections import groups_of
from .votes_and_transfer import transfer_section, votes_section

Data = Mapping[str, Any]
MOST_GROUPS = 15
THRESHOLDS = (
    "Thresholds that just reach an accuracy on dev, and what they do on test. They were picked for "
    "doing well on dev, so promise less for new speakers."
)


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
        ("votes", votes_section),
        ("transfer", transfer_section),
    ):
        if data.get(key):
            found.append(write(data[key]))
    if data.get("speaker_scaling"):
        found.append(_speaker_scaling(data["speaker_scaling"], data["dev"]["clips"]))
    if data.get("learning_curve"):
        found.append(_learning(data))
    if data.get("abstain"):
        found.append(_abstain(data["abstain"], best))
    if data.get("conformal"):
        found.append(_conformal(data["conformal"], best, groups_of(data)))
    return found


def each_group(data: Data, names: Sequence[str]) -> str:
    """Return the groups one by one: all systems where they are few, else the worst of the first.

    Parameters
    ----------
    data
        `Comparison.data`.
    names
        Systems in the order of the report.
    """
    values = data["groups"]["values"]
    if len(values) < 2:
        return ""
    few = len(values) < FEWEST_GROUPS
    names = names[: 8 if few else 1]
    best = names[0]
    text = "UAR over the classes that each has, in place of intervals."
    if not few:
        values = sorted(values, key=lambda row: (row["uar"][best], row["group"]))
        uar = [row["uar"][best] for row in values]
        text = (
            f"UAR of {md(best)} over the classes that each has: lowest {uar[0]:.3f} "
            f"({md(values[0]['group'])}), median {float(np.median(uar)):.3f}, highest "
            f"{uar[-1]:.3f}. With few clips each, much of the difference is chance."
        )
        if len(values) > MOST_GROUPS:
            text += f"\n\nThe lowest {MOST_GROUPS} of {len(values)}:"
    rows = [
        [md(row["group"]), str(row["clips"]), *(f"{row['uar'][name]:.3f}" for name in names)]
        for row in values[:MOST_GROUPS]
    ]
    column = md(data["groups"]["column"] or "clip")
    return f"## Each {column}\n\n{text}\n\n" + table([column, "clips", *map(md, names)], rows)


def gaps(part: Data, column: str, groups: str) -> str:
    """Return the gap between each value of a column and all others, with interval and test.

    Parameters
    ----------
    part
        What `Comparison.data` holds by that column.
    column, groups
        Its name, and what to call the groups, for Markdown.
    """
    found = part.get("gaps") or ()
    rows = []
    for row in found:
        if row["difference"] is None:
            continue
        gap = f"{row['difference']:+.3f}"
        low, high = row["interval"]
        tested = row["p"] is not None
        rows.append(
            [
                md(row["value"] or "(blank)"),
                f"{row['uar']:.3f}",
                f"{row['uar_rest']:.3f}",
                f"{gap} [{low:.3f}, {high:.3f}]" if tested else gap,
                p_text(row["p"]) if tested else "-",
                p_text(row["p_corrected"]) if tested else "-",
            ]
        )
    if not rows:
        return ""
    tests = sum(row["p"] is not None for row in found)
    return (
        f"\n\nGaps of {md(part['gaps_of'])}: UAR on one value of {column} less that on all other "
        "clips, over the classes that both have"
        + f"; p corrected allows for the {tests} tests, and is never below p" * (tests > 1)
        + ". "
        + f"Intervals say what other {groups} of the same kinds would give. " * (tests > 0)
        + f"An interval and a test need {FEWEST_GROUPS} {groups} of every class on each side.\n\n"
        + table([column, "UAR", "others", "gap", "p", "p corrected"], rows)
    )


def _audit(audit: Data) -> str:
    rows = [
        [
            md(name),
            score(row["uar"]),
            f"{row['gain']:+.3f}",
            p_text(row["p"]),
            str(row["clips"]),
            "**shortcut**" * row["shortcut"],
        ]
        for name, row in audit["factors"].items()
    ]
    left = ", ".join(f"{md(name)} ({md(why)})" for name, why in audit["left_out"].items())
    more = f"\n\nLeft out, since they can say nothing here: {left}." if left else ""
    if not rows:
        return f"## Shortcuts\n\nNo factor could be tried.{more}"
    return (
        "## Shortcuts\n\nHow well each factor alone, learnt on train, predicts the label on test: "
        "a way to be right without recognising an emotion. Words, loudness and duration can also "
        "be part of how an emotion is expressed; corpus, speaker and sampling rate cannot. *gain* "
        "is UAR above chance "
        f"({audit['chance']:.3f}); p says how often labels dealt out at random give as much. It is "
        f"called a shortcut where the gain is at least {audit['least_gain']:g} and p below "
        f"{audit['level']:g}. *words* is what a naive Bayes on the text gives, *script* the exact "
        f"text.\n\n" + table(["factor", "UAR", "gain", "p", "clips", ""], rows) + more
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
        f"On test, some member is right on {100 * found['oracle']:.0f} % of the clips, all are "
        f"right on {100 * found['all_right']:.0f} %, all are wrong on "
        f"{100 * found['all_wrong']:.0f} %. *Errors shared*: clips on which both are wrong, as a "
        "share of those on which either is. *Q* (Yule) and *kappa* (Cohen) are 1 where two members "
        "are right on the same clips or give the same labels, and 0 where that is left to chance. "
        "*Disagreement*: clips with different labels. None of these has an interval.\n\n"
        + table(["members", "errors shared", "Q", "kappa", "disagreement"], rows)
    )
    if "ablation" not in found:
        return text
    rows = [[md(name), f"{change:+.3f}"] for name, change in found["ablation"]["without"].items()]
    return (
        f"{text}\n\nUAR of the mean of all members, as they were trained, is "
        f"{found['ablation']['uar']:.3f} on test. "
        "Without one of them it changes on these clips as follows; that is not a reason to drop a "
        "member, which dev should decide.\n\n" + table(["left out", "change in UAR"], rows)
    )


def _calibration(found: Data) -> str:
    rows = [
        [
            md(name),
            f"{row['temperature']:.2f}" if row["temperature"] is not None else "-",
            *(number(row[key]) for key in ("nll", "nll_calibrated", "ece", "ece_calibrated")),
        ]
        for name, row in found.items()
    ]
    return (
        "## Calibration\n\nA temperature above 1 means that a member was too sure on dev. What "
        "it would change on test (with folds: one from the dev clips outside of each test fold), "
        "where lower is better; members in the tables above are as they were trained.\n\n"
        + table(["member", "temperature", "NLL", "NLL then", "ECE", "ECE then"], rows)
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
    header = ["member", "seeds", "mean UAR", "sd", "lowest", "highest", "error of test", "share"]
    return (
        "## Seeds\n\nSpread of UAR over training seeds, next to the standard error that the choice "
        "of test speakers gives; share is the part of seeds in the variance of one run.\n\n"
        + table(header, rows)
    )


def _learning(data: Data) -> str:
    points, name = data["learning_curve"], data.get("learning_curve_of")
    rows = []
    for p in points:
        orders = p.get("orders", ())
        span = f"{min(orders):.3f} to {max(orders):.3f}" if len(orders) > 1 else "-"
        rows.append(
            [f"{100 * p['share']:g} %", str(p["clips"]), str(p["groups"]), score(p["uar"]), span]
        )
    of = f": {md(name)}" if name else ""
    column = md(groups_of(data))
    header = ["train", "clips", column, "UAR on test", "lowest to highest order"]
    if all(p["groups"] == p["clips"] for p in points):  # the column says nothing new
        header, rows = header[:2] + header[3:], [row[:2] + row[3:] for row in rows]
        column = "clips"
    most = max(len(p.get("orders", [0])) for p in points)
    clips = points[0].get("test_clips")
    on = f" UAR is on the {clips} test clips of {md(name)}" if clips and name else ""
    if on and clips != data["test"]["clips"]:
        on += f", while the tables above are on the {data['test']['clips']} that all members have"
    return (
        f"## Learning curve{of}\n\nTrained on a part of the training {column}, in {most} random "
        f"orders; which ones are taken matters most where there are few.{on}{'.' * bool(on)} UAR "
        "and the limits of its interval, which is over test groups, are means over the orders; the "
        "sizes are those of the first.\n\n" + table(header, rows)
    )


def _speaker_scaling(found: Data, dev_clips: int) -> str:
    before, after = found["dev_uar"], found["dev_uar_scaled"]
    gain = found.get("gain", after - before)  # not in the JSON of the first release
    own = ""
    if found["dev_clips"] != dev_clips:
        own = f": all that the member has, not only the {dev_clips} of the tables above"
    return (
        f"## Speaker scaling\n\nWith `scale: speaker`, the dev UAR of {md(found['member'])} would "
        f"be {after:.3f} in place of {before:.3f} ({gain:+.3f}), on the "
        f"{found['dev_clips']} dev clips of {found['dev_speakers']} speakers{own}. It subtracts "
        "what the clips of a speaker have in common, and needs no labels for that. A prediction "
        "then depends on the speaker's other clips, so new speakers need several. Its settings are "
        "those chosen without it, and few dev speakers say little: try it as a member of its own."
    )


def _abstain(found: Data, best: str) -> str:
    rows = [
        [f"{100 * p['coverage']:.0f} %", str(p["clips"]), f"{100 * p['risk']:.0f} %"]
        for p in found["curve"]
    ]
    text = (
        f"## Answering only when sure: {md(best)}\n\nError rate on test among the surest clips, by "
        f"the largest probability; area under the whole curve {found['area']:.3f}.\n\n"
        + table(["answered", "clips", "errors"], rows)
    )
    if "thresholds" not in found:
        return text
    rows = [
        [
            f"{100 * row['accuracy_on_dev']:g} %",
            number(row["threshold"]) if row["threshold"] is not None else "none reaches it",
            f"{100 * row['coverage']:.0f} %",
            f"{100 * row['accuracy']:.0f} %" if row["accuracy"] is not None else "-",
        ]
        for row in found["thresholds"]
    ]
    return f"{text}\n\n{THRESHOLDS}\n\n" + (
        table(["accuracy on dev", "threshold", "answered", "accuracy on test"], rows)
    )


def _conformal(found: Data, best: str, units: str) -> str:
    rows, notes = [], []
    for part in found.values():
        promised = f"{100 * part['promised']:g} %"
        if not part["possible"]:
            notes.append(
                f"For {promised} dev needs at least {part['speakers_needed']} speakers (of folds: "
                "outside of each test fold) and has fewer: only the set of all labels can be "
                "promised."
            )
            continue
        if "by" in part and len(part["shared"]) == len(part["by"]):
            notes.append(
                f"For {promised}, no language has enough dev clips and speakers for a threshold of "
                "its own."
            )
        elif part.get("shared"):
            shared = ", ".join(md(name or "(blank)") for name in part["shared"])
            notes.append(f"For {promised}, {shared} share the threshold of all of dev.")
        for name, row in {"all": part["all"], **part.get("by", {})}.items():
            held = {"value": row["coverage"], "interval": row["interval"]}
            rows.append(
                [
                    promised,
                    md(name or "(blank)"),
                    str(row["clips"]),
                    score(held),
                    f"{row['mean_size']:.2f}",
                    f"{100 * row['singletons']:.0f} %",
                ]
            )
    whose = "by whole speakers, so that the set of a new speaker's clip"
    if units == "single clips":
        whose = "so that the set of a new clip of the same kind"
    header = ["promised", "language", "clips", "held", "labels in a set", "single"]
    shown = "\n\n" + table(header, rows, left=2) if rows else ""
    return (
        f"## Conformal sets: {md(best)}\n\nSets of labels instead of one: thresholds from dev, "
        f"{whose} holds the true label at least as often as "
        "promised, on average over languages, if dev and test are alike. *held* is the share on "
        "test, with its interval; *single*, the share of sets of one label. " + " ".join(notes)
    ).rstrip() + shown


def how_made(data: Data) -> str:
    """Return task, clips, seed and splits with their sizes."""
    setting = data["settings"]
    lines = [
        "## How it was made",
        "",
        f"- task {md(data['task']['name'])}, version {data['task']['version']}, "
        f"hash `{data['task']['hash'][:16]}`, labels "
        + some([md(label) for label in data["task"]["labels"]]),
        f"- test clips `{data['test']['manifest'][:16]}`",
        f"- ties go to {setting['ties']}; seed {setting['random_state']}",
        *made_lines(data),
    ]
    for split in data["splits"][:20]:
        name = f" {md(split['name'])}" if split["name"] else ""
        lines.append(
            f"- split {md(split['scheme'])}{name}, hash `{split['hash'][:16]}`"
            + (f": {_parts(split['parts'])}" if "parts" in split else "")
        )
    if setting["calibrate"]:
        lines.append(
            f"- members calibrated on dev before they were combined: {setting['calibrate']}"
        )
    if setting.get("calibrate_fused"):
        lines.append(f"- ensembles calibrated on dev: {setting['calibrate_fused']}")
    return "\n".join(lines)


def _parts(parts: Data) -> str:
    """Return the size of each part of a split."""
    return "; ".join(
        f"{name} {part['clips']} clips"
        + (
            f" of {part['speakers']} {group_noun('speaker', part['speakers'])}"
            if part.get("speakers")
            else ""
        )
        for name, part in parts.items()
        if part["clips"]
    )


def number(value: float | None) -> str:
    """Return a number with three digits, or "-"."""
    return "-" if value is None else f"{value:.3f}"
