"""The sections of the analyses: shortcuts, diversity, calibration, seeds, votes, transfer ..."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....data.escape import md
from ...scores.verdicts import p_text
from .markdown_tables import score, table
from .system_order import groups_of

Data = Mapping[str, Any]
MOST_GROUPS = 15
THRESHOLDS = (
    "Thresholds that just reach an accuracy on dev, and what they do on test. They were chosen "
    "because they do well on dev, so expect less for new speakers."
)


def analyses(data: Data, best: str) -> list[str]:
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
        ("votes", _votes),
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
    more = f"\n\nLeft out, because they cannot be tested here: {left}." if left else ""
    if not rows:
        return f"## Shortcuts\n\nNo factor could be tried.{more}"
    return (
        "## Shortcuts\n\nHow well each factor alone, trained on train, predicts the label on "
        "test: a way to be right without recognising emotion. Words, loudness and duration can "
        "also "
        "be part of how an emotion is expressed; corpus, speaker and sampling rate cannot. *gain* "
        "is UAR above chance "
        f"({audit['chance']:.3f}); p says how often randomly assigned labels give as much. It "
        f"is called a shortcut if the gain is at least {audit['least_gain']:g} and p below "
        f"{audit['level']:g}. *words* is what a naive Bayes on the text gives, *script* the exact "
        "text.\n\n" + table(["factor", "UAR", "gain", "p", "clips", ""], rows) + more
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
        "Without one of them it changes on these clips as follows. This is not a reason to drop "
        "a member: dev should decide that.\n\n" + table(["left out", "change in UAR"], rows)
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
        "## Calibration\n\nA temperature above 1 means that a member was overconfident on dev. "
        "What it changes on test (with folds: one from the dev clips outside of each test fold), "
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
    if all(p["groups"] == p["clips"] for p in points):  # the column adds nothing
        header, rows = header[:2] + header[3:], [row[:2] + row[3:] for row in rows]
        column = "clips"
    most = max(len(p.get("orders", [0])) for p in points)
    clips = points[0].get("test_clips")
    on = f" UAR is on the {clips} test clips of {md(name)}" if clips and name else ""
    if on and clips != data["test"]["clips"]:
        on += f", while the tables above are on the {data['test']['clips']} that all members have"
    return (
        f"## Learning curve{of}\n\nTrained on a growing part of the training {column}, in {most} "
        f"random orders; the choice of {column} matters most when there are "
        f"few.{on}{'.' * bool(on)} UAR "
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
        "what the clips of a speaker have in common, without labels. A prediction then depends "
        "on the speaker's other clips, so new speakers need several clips. The settings are "
        "those chosen without it, and few dev speakers say little: to be sure, add a member with "
        "this setting."
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
            notes.append(f"For {promised}, {shared} share a threshold.")
        if part.get("unpromised"):
            without = ", ".join(md(name or "(blank)") for name in part["unpromised"])
            notes.append(
                f"For {promised}, nothing is promised for {without}: too few dev clips and "
                "speakers, so the sets are made as for all of dev."
            )
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
    several = any("by" in part for part in found.values())
    each = " in each language (on average over those that share a threshold)" if several else ""
    header = ["promised", "language", "clips", "held", "labels in a set", "single"]
    shown = "\n\n" + table(header, rows, left=2) if rows else ""
    return (
        f"## Conformal sets: {md(best)}\n\nSets of labels instead of one: thresholds from dev, "
        f"{whose} holds the true label at least as often as "
        f"promised{each}, if dev and test are alike (and somewhat less often where "
        "dev also chose the system). *held* is the share on "
        "test, with its interval; *single*, the share of sets of one label. " + " ".join(notes)
    ).rstrip() + shown


def number(value: float | None) -> str:
    """Return a number with three digits, or "-"."""
    return "-" if value is None else f"{value:.3f}"


def _votes(found: Data) -> str:
    """Return how the raters agree, and the scores against their votes."""
    raters = found["raters"]
    rows = []
    for name, one in found["systems"].items():
        cells = [score(one[key]) for key in ("brier", "kl", "jsd")]
        shares = ("agreement", "agreement_clear", "agreement_split")
        scores = ["-" if one[key] is None else f"{one[key]:.3f}" for key in shares]
        rows.append([md(name), *cells, *scores])
    header = ["system", "Brier", "KL", "JSD", "agreement", "on clear clips", "on split clips"]
    return (
        f"## What the raters said\n\nEach test clip has {raters['votes']:.1f} votes on average. "
        f"The raters' leading label has {raters['agreement']:.3f} of a clip's votes, which is the "
        "most that *agreement* (the share of raters who chose the label predicted) can be; the "
        f"entropy of the votes is {raters['entropy']:.3f} nats. "
        f"{100 * raters['split']:.0f} % of the clips "
        "are split: the leading label has less than 0.6. Brier score, Kullback-Leibler and "
        "Jensen-Shannon divergence compare probabilities with the shares of votes; lower is "
        "better, 0 is perfect.\n\n" + table(header, rows)
    )


def transfer_section(found: Data) -> str:
    """Return the transfer matrix of a member, with what its cells are."""
    member = f" of {md(found['member'])}" if "member" in found else ""
    key = found.get("measure", "uar")  # not in the JSON of the first release
    names, cells = found["names"], found["cells"]
    rows = [[md(here), *(score(cells[here][there][key]) for there in names)] for here in names]
    return (
        f"## Transfer{member} by {md(found['by'])}\n\n{key.upper()}; rows are trained "
        "on, columns tested on. Off the diagonal a model learns from the clips of one value "
        "(where settings are chosen or a network stops early, a fifth of the speakers is its dev) "
        "and is tested on all clips of the other; the diagonal is cross-validated over speakers, "
        "so that every cell is of unseen voices. The split of the recipe is not used here.\n\n"
        + table(["", *map(md, names)], rows)
    )
