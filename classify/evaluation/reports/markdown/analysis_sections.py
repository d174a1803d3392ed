"""The sections of the analyses: shortcuts, diversity, calibration, seeds, votes, transfer ..."""

from __future__ import annotations

from ....data.escape import md
from ....ensembles.calibration import LARGEST
from ...scores.verdicts import p_text
from ..sections import Data, Section, Table
from .column_tables import row_name
from .markdown_tables import number, score
from .system_order import groups_of

MOST_GROUPS = 15
THRESHOLDS = (
    "Thresholds that just reach an accuracy on dev, and what they do on test. They were chosen "
    "because they do well on dev, so expect less for new speakers."
)


def analyses(data: Data, best: str) -> list[Section]:
    """Return the sections that the data holds.

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


def _audit(audit: Data) -> Section:
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
    more = f"Left out, because they cannot be tested here: {left}." if left else ""
    if not rows:
        return Section("Shortcuts", ["No factor could be tried.", more])
    text = (
        "How well each factor alone, trained on train, predicts the label on test: a way to be "
        "right without recognising emotion. Words, loudness and duration can also be part of how "
        "an emotion is expressed; corpus, speaker and sampling rate cannot. *gain* is UAR above "
        f"chance ({audit['chance']:.3f}); p says how often randomly assigned labels give as much. "
        f"It is called a shortcut if the gain is at least {audit['least_gain']:g} and p below "
        f"{audit['level']:g}. *words* is what a naive Bayes on the text gives, *script* the exact "
        "text."
    )
    shown = Table(["factor", "UAR", "gain", "p", "clips", ""], rows)
    return Section("Shortcuts", [text, shown, more], "shortcuts")


def _diversity(found: Data) -> Section:
    rows = [
        [
            f"{md(pair['a'])} and {md(pair['b'])}",
            *(number(pair[key]) for key in ("error_overlap", "q", "kappa", "disagreement")),
        ]
        for pair in found["pairs"]
    ]
    text = (
        f"On test, some member is right on {100 * found['oracle']:.0f} % of the clips, all are "
        f"right on {100 * found['all_right']:.0f} %, all are wrong on "
        f"{100 * found['all_wrong']:.0f} %. *Errors shared*: clips on which both are wrong, as a "
        "share of those on which either is. *Q* (Yule) and *kappa* (Cohen) are 1 where two members "
        "are right on the same clips or give the same labels, and 0 where that is left to chance. "
        "*Disagreement*: clips with different labels. None of these has an interval."
    )
    blocks = [text, Table(["members", "errors shared", "Q", "kappa", "disagreement"], rows)]
    if ablation := found.get("ablation"):
        rows = [[md(name), f"{change:+.3f}"] for name, change in ablation["without"].items()]
        blocks += [
            "UAR of the mean of all members, as they were trained, is "
            f"{ablation['uar']:.3f} on test. Without one of them it changes on these clips as "
            "follows. This is not a reason to drop a member: dev should decide that.",
            Table(["left out", "change in UAR"], rows),
        ]
    return Section("Diversity", blocks, "diversity")


def _calibration(found: Data) -> Section:
    rows = [
        [
            md(name),
            number(row["temperature"], ".2f"),
            *(number(row[key]) for key in ("nll", "nll_calibrated", "ece", "ece_calibrated")),
        ]
        for name, row in found.items()
    ]
    text = (
        "A temperature above 1 means that a member was overconfident on dev; it is kept between "
        f"1/{LARGEST:g} and {LARGEST:g}. "
        "What it changes on test (with folds: one from the dev clips outside of each test fold), "
        "where lower is better; members in the tables above are as they were trained."
    )
    header = ["member", "temperature", "NLL", "NLL then", "ECE", "ECE then"]
    return Section("Calibration", [text, Table(header, rows)])


def _seeds(found: Data) -> Section:
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
    text = (
        "Spread of UAR over training seeds, next to the standard error that the choice of test "
        "speakers gives; share is the part of seeds in the variance of one run."
    )
    return Section("Seeds", [text, Table(header, rows)])


def _learning(data: Data) -> Section:
    points = [p for p in data["learning_curve"] if "uar" in p]
    name, rows = data.get("learning_curve_of"), []
    for p in points:
        orders = p.get("orders", ())
        span = f"{min(orders):.3f} to {max(orders):.3f}" if len(orders) > 1 else "-"
        rows.append(
            [f"{100 * p['share']:g} %", str(p["clips"]), str(p["groups"]), score(p["uar"]), span]
        )
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
    text = (
        f"Trained on a growing part of the training {column}, in {most} random orders; the choice "
        f"of {column} matters most when there are few.{on}{'.' * bool(on)} UAR and the limits of "
        "its interval, which is over test groups, are means over the orders; the sizes are those "
        "of the first."
    )
    left_out = [
        f"{100 * p['share']:g} % is left out: {md(p['reason'].rstrip('.'))}."
        for p in data["learning_curve"]
        if "uar" not in p
    ]
    title = f"Learning curve: {name}" if name else "Learning curve"
    return Section(title, [text, *left_out, Table(header, rows)], "learning")


def _speaker_scaling(found: Data, dev_clips: int) -> Section:
    before, after = found["dev_uar"], found["dev_uar_scaled"]
    gain = found.get("gain", after - before)  # not in the JSON of the first release
    own = ""
    if found["dev_clips"] != dev_clips:
        own = f": all that the member has, not only the {dev_clips} of the tables above"
    text = (
        f"With `scale: speaker`, the dev UAR of {md(found['member'])} would "
        f"be {after:.3f} in place of {before:.3f} ({gain:+.3f}), on the "
        f"{found['dev_clips']} dev clips of {found['dev_speakers']} speakers{own}. It subtracts "
        "what the clips of a speaker have in common, without labels. A prediction then depends "
        "on the speaker's other clips, so new speakers need several clips. The settings are "
        "those chosen without it, and few dev speakers say little: to be sure, add a member with "
        "this setting."
    )
    return Section("Speaker scaling", [text])


def _abstain(found: Data, best: str) -> Section:
    rows = [
        [f"{100 * p['coverage']:.0f} %", str(p["clips"]), f"{100 * p['risk']:.0f} %"]
        for p in found["curve"]
    ]
    text = (
        "Error rate on test among the surest clips, by the largest probability; area under the "
        f"whole curve {found['area']:.3f}."
    )
    blocks = [text, Table(["answered", "clips", "errors"], rows)]
    if "thresholds" in found:
        rows = [
            [
                f"{100 * row['accuracy_on_dev']:g} %",
                number(row["threshold"]) if row["threshold"] is not None else "none reaches it",
                f"{100 * row['coverage']:.0f} %",
                f"{100 * row['accuracy']:.0f} %" if row["accuracy"] is not None else "-",
            ]
            for row in found["thresholds"]
        ]
        header = ["accuracy on dev", "threshold", "answered", "accuracy on test"]
        blocks += [THRESHOLDS, Table(header, rows)]
    return Section(f"Answering only when sure: {best}", blocks, "abstain")


def _conformal(found: Data, best: str, units: str) -> Section:
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
    text = (
        f"Sets of labels instead of one: thresholds from dev, {whose} holds the true label at "
        f"least as often as promised{each}, if dev and test are alike (and somewhat less often "
        "where dev also chose the system). *held* is the share on test, with its interval; "
        "*single*, the share of sets of one label."
    )
    shown = [Table(header, rows, left=2)] if rows else []
    return Section(f"Conformal sets: {best}", [" ".join([text, *notes]), *shown])


def _votes(found: Data) -> Section:
    """Return how the raters agree, and the scores against their votes."""
    raters = found["raters"]
    rows = []
    for name, one in found["systems"].items():
        cells = [score(one[key]) for key in ("brier", "kl", "jsd")]
        shares = ("agreement", "agreement_clear", "agreement_split")
        rows.append([md(name), *cells, *(number(one[key]) for key in shares)])
    header = ["system", "Brier", "KL", "JSD", "agreement", "on clear clips", "on split clips"]
    text = (
        f"Each test clip has {raters['votes']:.1f} votes on average. The raters' leading label has "
        f"{raters['agreement']:.3f} of a clip's votes, which is the most that *agreement* (the "
        "share of raters who chose the label predicted) can be; the entropy of the votes is "
        f"{raters['entropy']:.3f} nats. {100 * raters['split']:.0f} % of the clips are split: the "
        "leading label has less than 0.6. Brier score, Kullback-Leibler and Jensen-Shannon "
        "divergence compare probabilities with the shares of votes; lower is better, 0 is perfect."
    )
    return Section("What the raters said", [text, Table(header, rows)])


def transfer_section(found: Data) -> Section:
    """Return the transfer matrix of a member, with what its cells are."""
    member = f" of {found['member']}" if "member" in found else ""
    key = found.get("measure", "uar")  # not in the JSON of the first release
    names, cells = found["names"], found["cells"]
    rows = [[md(here), *(score(cells[here][there][key]) for there in names)] for here in names]
    text = (
        f"{key.upper()}; rows are trained on, columns tested on. Off the diagonal a model learns "
        "from the clips of one value (where settings are chosen or a network stops early, a fifth "
        "of the speakers is its dev) and is tested on all clips of the other; the diagonal is "
        "cross-validated over speakers, so that every cell is of unseen voices (of unseen clips "
        "where no speaker is known). The split of the recipe is not used here."
    )
    title = f"Transfer{member} by {found['by']}"
    tested = [row_name(there, cells[there][there]) for there in names]
    return Section(title, [text, Table(["", *tested], rows)], "transfer")
