"""Which clips took part in a run and which did not, how its members were trained, which layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .....cache.errors import counted
from ....data.escape import md
from ...scores.dev_choice import at_end_of_list
from ..sections import Data, Section, Table
from .markdown_tables import number

WIDE = "all-clips"  # the folder of the second comparison
FEWEST = 3  # layers of a curve


def describe_run(run: Mapping[str, Any], source: str, measure: str = "UAR") -> list[Section]:
    """Return what a run reports besides its comparison, from its part of the JSON.

    Examples
    --------
    >>> coverage = {"compared_on": {"clips": 2}, "any_member": {"clips": 3},
    ...             "members": {"lr": {"clips": 3}, "text": {"clips": 2}}}
    >>> run = {"coverage": coverage, "left_out": {"surprise": 4}, "members": {},
    ...        "quarantined": {"speech": {"too_short": 1}}}
    >>> describe_run(run, "clips.csv")[0].blocks[0]
    'Members and ensembles are compared on the 2 test clips that every member has, of 3 ...
    """
    coverage = run["coverage"]
    shared, everything = coverage["compared_on"]["clips"], coverage["any_member"]["clips"]
    unseen = coverage.get("split", coverage["any_member"])["clips"] - everything
    texts = []
    if shared < everything:
        sizes = ", ".join(f"{md(name)} {one['clips']}" for name, one in coverage["members"].items())
        texts.append(
            f"Members and ensembles are compared on the {shared} test clips that every member has, "
            f"of {everything} that some member has ({sizes}). `{WIDE}/report.md` compares, on all "
            f"{everything}, the members that have them all and ensembles of whichever members a "
            "clip has."
        )
    elif not unseen:
        texts.append(f"Every member has all {everything} test clips.")
    if unseen:
        texts.append(
            f"**{unseen} of the {unseen + everything} test clips of the split are not scored**: "
            "no member has its input for them (their text is blank, their audio is missing, or "
            "they could not be embedded)."
        )
    for name, folds in run.get("sits_out", {}).items():
        reasons = "; ".join(f"{md(fold)} ({md(reason)})" for fold, reason in folds.items())
        texts.append(
            f"**{md(name)} sits out {counted(len(folds), 'fold')}**, where it cannot be trained or "
            f"tested: {reasons}. The test clips of these folds are not in the common comparison."
        )
    if run["left_out"]:
        counts = ", ".join(f"{md(label or '(blank)')} {n}" for label, n in run["left_out"].items())
        texts.append(f"Labels that the task leaves out (clips of {md(source)}): {counts}.")
    for name, codes in run["quarantined"].items():
        if codes:
            reasons = ", ".join(f"{count} {code}" for code, count in codes.items())
            texts.append(
                f"**{sum(codes.values())} clips have no embedding by {md(name)}** and are left "
                f"out where it is needed: {reasons}. `affekt cache show` lists them."
            )
    for name, counts in run.get("remarks", {}).items():
        words = ", ".join(f"{count} {md(remark)}" for remark, count in counts.items())
        texts.append(f"Remarks on the clips that {md(name)} embedded: {words}.")
    settings = [
        line for name, one in run["members"].items() for line in _settings(name, one, measure)
    ]
    trained = [Section("How the members were trained", [settings])] if settings else []
    return [Section("Which clips", texts), *trained]


def _settings(name: str, record: Mapping[str, Any], measure: str) -> list[str | list[str]]:
    lines: list[str | list[str]] = []
    name = md(name)
    for count, part in enumerate(record["parts"], 1):
        fold = md(part.get("fold") or f"fold {count}")
        where = f"{name}, {fold}" if len(record["parts"]) > 1 else name
        if "model" in part:
            lines.append(
                f"{where}: the model {md(part['model'])}, not trained here; it is not known "
                "whether it was trained on any of these clips"
            )
            continue
        if "chosen" not in part:
            lines.append(
                f"{where}: class probabilities of {md(part['classifier'])}, not trained here"
            )
            continue
        chosen = part["chosen"]
        words = [f"{_layer(layer)} of {md(on)}" for on, layer in chosen["layers"].items()]
        if "trained" in part:
            words.insert(0, f"`{part['trained']['head']}`")
        words += [f"{md(key)} {md(value)}" for key, value in chosen["settings"].items()]
        text = f"{where}: {', '.join(words)}"
        if "scaled_within" in part:
            within = part["scaled_within"]
            text += (
                f"; features scaled within each {within}, by the unlabelled clips of that {within} "
                "(transductive: a prediction depends on the other clips in the same call)"
            )
        if len(part["tried"]) > 1:
            text += f"; the best of {len(part['tried'])} settings on dev"
            text += "".join(f"; {md(one)}" for one in at_end_of_list(part, measure.lower()))
        if "over_seeds" in part:
            over = part["over_seeds"]
            text += (
                f"; test {measure} over {over['n']} seeds {over['mean']:.3f}, sd "
                f"{over['sd']:.3f} (95 % interval of the mean over more seeds, on these clips: "
                f"{over['low']:.3f} to {over['high']:.3f}); the seed with the best dev {measure} "
                "is the member"
            )
        trained = part.get("trained", {})
        lines.append("; ".join([text, *_found(trained, chosen["settings"])]))
        named = {*chosen["settings"], *trained.keys() & {"C"}}
        settings = trained.get("settings", {}).items()
        rest = [f"{md(k)} {md(v)}" for k, v in settings if k not in named]
        if count == len(record["parts"]) and rest:
            lines.append([f"defaults: {', '.join(rest)}"])
    return lines


def _layer(layer: Any) -> str:
    """Return a layer in words; 1 and up are counted from the input."""
    return "last layer" if layer == -1 else f"layer {md(layer)}"


def _found(trained: Mapping[str, Any], named: Mapping[str, Any]) -> Iterator[str]:
    """Yield what training settled on by itself: it may differ from fold to fold."""
    if "C" in trained and "C" not in named:
        yield f"C came to {trained['C']:.3g}"
    if "shrinkage" in trained:
        yield f"the shrinkage came to {trained['shrinkage']:.2f}"
    if (epochs := trained.get("epochs")) is not None:
        early = ", stopped early on dev, so its dev score is a little too high"
        ended = {"patience": early, "interrupted": ", interrupted"}
        yield f"trained for {counted(epochs, 'epoch')}{ended.get(trained['stopped'], '')}"


def layer_curves(data: Data) -> dict[str, list[tuple[int, float]]]:
    """Return the best UAR (or CCC) of each layer, by member and encoder.

    A probe's are those over folds of the training clips, others those on dev. Of a run in folds,
    the first fold's are taken.
    """
    measure, found = data.get("measure", "uar"), {}
    for member, record in (data.get("run") or {}).get("members", {}).items():
        part = record["parts"][0]
        for encoder, probed in part.get("probed", {}).items():
            found[f"{encoder}, probed for {member}"] = dict(enumerate(probed["by_layer"]))
        for encoder in part.get("chosen", {}).get("layers", {}):
            best: dict[int, float] = {}
            for one in part["tried"]:
                layer, score = one["layers"].get(encoder), one.get(f"dev_{measure}")
                if isinstance(layer, int) and layer >= 0 and score is not None:
                    best[layer] = max(float(score), best.get(layer, float(score)))
            found.setdefault(f"{encoder}, tried for {member}", best)
    return {name: sorted(scores.items()) for name, scores in found.items() if len(scores) >= FEWEST}


def layers_section(data: Data) -> list[Section]:
    """Return a table of the layers; empty where no member tried several."""
    curves = layer_curves(data)
    if not curves:
        return []
    measure = data.get("measure", "uar").upper()
    layers = sorted({layer for points in curves.values() for layer, _ in points})
    rows = []
    for layer in layers:
        scores = [dict(points).get(layer) for points in curves.values()]
        rows.append([str(layer), *map(number, scores)])
    text = (
        f"The best {measure} with each layer: on dev, or over folds of the training clips where it "
        "was probed. The best of many layers is partly a matter of luck."
    )
    return [Section("Layers", [text, Table(["layer", *map(md, curves)], rows)], "layers")]
