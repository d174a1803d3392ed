"""The command `affekt predict`: from audio and text to labels and probabilities."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cli_run import say

if TYPE_CHECKING:
    from ..cache.manifest import Manifest
    from .predictions import Predictions

__all__ = ["predict"]

SHOWN = 20  # clips that are told readably; more are a table


@click.command()
@click.argument("model")
@click.argument("inputs", nargs=-1, type=click.Path())
@click.option("--text", help="What is said: with one file, or alone.")
@click.option("--transcribe", is_flag=True, help="Let Whisper write the texts that are missing.")
@click.option("--whisper", help="Folder or Hub id of a Whisper, for --transcribe.")
@click.option("--language", help="What is spoken, ISO 639-3, or 'column'; otherwise detected.")
@click.option("--cache", type=click.Path(path_type=Path), help="Keep embeddings there; resumable.")
@click.option("--encoder", "encoders", multiple=True, help="Folder of an encoder (repeatable).")
@click.option("--system", help="Of a run: a member or ensemble  [default: the one dev chose]")
@click.option("--root", type=click.Path(), help="Folder that a manifest's paths are relative to.")
@click.option("--top", type=click.IntRange(1), help="Show only the most probable labels.")
@click.option("--window", type=float, help="Seconds: a timeline of a long recording.")
@click.option("--hop", type=float, help="Seconds between two windows  [default: half a window]")
@click.option("--figure", type=click.Path(path_type=Path), help="Draw the timeline there (.png).")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda ...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write .csv (pred.csv) or .jsonl."
)
@click.pass_context
def predict(
    ctx: click.Context,
    model: str,
    inputs: tuple[str, ...],
    text: str | None,
    transcribe: bool,
    whisper: str | None,
    language: str | None,
    cache: Path | None,
    encoders: tuple[str, ...],
    system: str | None,
    root: str | None,
    top: int | None,
    window: float | None,
    hop: float | None,
    figure: Path | None,
    device: str,
    as_json: bool,
    output: Path | None,
) -> None:
    """Predict with MODEL: a model folder, a Hub id, or the folder of a run.

    INPUTS are audio files, folders of them, or one manifest. The model's own features are
    replayed: the same encoder, checked by its spec and its canary. Clips that cannot be embedded
    are named with a reason, and the exit code is 3.

    A long recording becomes a timeline with --window 4 --hop 2: id, start, end, label and
    probabilities of each window, and a figure with --figure.
    """
    from ..cache.cache import Cache
    from ..cache.errors import InputError
    from .heads import serving
    from .missing_text import heard, with_text
    from .raw import long_names, raw_clips
    from .system import open_system

    if window is None and (hop is not None or figure is not None):
        raise InputError("--hop and --figure belong to a timeline; say --window SECONDS too")
    if output is not None and output.suffix not in (".csv", ".jsonl"):
        raise InputError(f"-o {output}: expected a name that ends in .csv or .jsonl")
    if ctx.obj:  # the process is our own: nothing will be fitted in it
        serving.only_serve()
    chosen = open_system(model, system=system)
    clips = raw_clips(inputs, text=text, root=root)
    if window is not None:
        from .timeline import windows

        clips = windows(clips, window, hop or window / 2)
    with tempfile.TemporaryDirectory() as place:
        store = Cache(cache if cache is not None else Path(place) / "cache")
        spoken = {"transcribe": transcribe, "whisper": whisper, "language": language}
        clips = with_text(chosen, clips, store, **spoken, device=device, say=say)
        answer = chosen.predict(
            clips, store, encoders=encoders, device=device, progress=len(clips) > SHOWN
        )
    for name, code in answer.failed.items():
        say(f"{name}: not predicted: {code}")
    if answer.predictions is not None:
        extra = heard(clips)
        for name, told in long_names(clips).items():
            extra[name] = extra.get(name, {}) | told
        if window is not None:
            extra = _timeline(clips, answer.predictions, extra, output, figure)
        if window is None or as_json or output is None or output.suffix == ".jsonl":
            _tell(answer.predictions, top, as_json, output, extra)
    ctx.exit(3 if answer.failed else 0)


def _timeline(
    clips: Manifest,
    predictions: Predictions,
    extra: Mapping[str, dict[str, Any]],
    output: Path | None,
    figure: Path | None,
) -> dict[str, dict[str, Any]]:
    """Write table and figure; return recording, start and end of each window for JSON."""
    from .timeline import draw_timeline, timeline_rows, write_timeline

    if output is not None and output.suffix == ".csv":
        write_timeline(output, clips, predictions)
        say(f"{len(predictions)} windows: {output}")
    if figure is not None:
        draw_timeline(figure, clips, predictions)
        say(f"Figure: {figure}")
    rows = zip(predictions.ids, timeline_rows(clips, predictions), strict=True)
    return {
        name: {"recording": told[0], "start": told[1], "end": told[2]} | dict(extra.get(name, {}))
        for name, told in rows
    }


def _tell(
    predictions: Predictions,
    top: int | None,
    as_json: bool,
    output: Path | None,
    extra: Mapping[str, dict[str, Any]],
) -> None:
    if output is not None:
        if output.suffix == ".csv":
            predictions.write(output)
        else:
            output.parent.mkdir(parents=True, exist_ok=True)
            lines = (json.dumps(row, ensure_ascii=False) for row in _rows(predictions, top, extra))
            output.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        say(f"{len(predictions)} predictions: {output}")
    elif as_json:
        click.echo(json.dumps(_rows(predictions, top, extra), ensure_ascii=False))
    elif len(predictions) > SHOWN:
        click.echo("\n".join(_table(predictions)))
    else:
        click.echo("\n\n".join(_readable(row) for row in _rows(predictions, top, extra)))


def _rows(
    predictions: Predictions, top: int | None, extra: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    rows = []
    for name, label, proba in predictions:
        order = sorted(range(len(proba)), key=lambda k: (-proba[k], k))[:top]
        scores = {predictions.labels[k]: float(proba[k]) for k in order}
        row = {"id": name, "label": label, "score": scores[label], "scores": scores}
        rows.append(row | extra.get(name, {}))
    return rows


def _readable(row: dict[str, Any]) -> str:
    """One clip for people: label, confidence, every probability with a bar."""
    width = max(len(label) for label in row["scores"])
    lines = [row["id"], f"{row['label']} ({row['score']:.1%})"]
    for label, score in row["scores"].items():
        lines.append(f"  {label:<{width}}  {score:6.1%}  {'#' * round(30 * score)}".rstrip())
    if row.get("asr"):
        lines.append(f"  heard by {row['asr']}: {row['text']!r}")
    return "\n".join(lines)


def _table(predictions: Predictions) -> Sequence[str]:
    from .escape import cell

    lines = [",".join(["id", "label", *predictions.labels])]
    for name, label, proba in predictions:
        lines.append(",".join([cell(name), label, *(f"{value:.4f}" for value in proba)]))
    return lines
