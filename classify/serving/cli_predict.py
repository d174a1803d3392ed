"""The command `affekt predict`: from audio and text to labels and probabilities."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...cache.commands.command import Command
from ...cache.commands.terminal import JSON, PATH, ROOT, print_json, recordings
from ...cache.errors import InputError, expected_one_of, in_shell
from ...cache.files.cache_marker import check_cache_folder
from ...cache.files.output_checks import check_output
from ...extract.encoders.hardware.device import DEVICE
from ..options import ENCODERS, SYSTEM, to_stderr

if TYPE_CHECKING:
    from ...cache.manifest import Manifest
    from ..data.predictions import Predictions
    from ..data.task import Task
    from ..models.new_clips.system import System

POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command(cls=Command)
@click.argument("model")
@click.argument("inputs", nargs=-1, type=click.Path())
@click.option("--text", help="The words spoken, with one audio file or alone.")
@click.option(
    "--transcribe", is_flag=True, help="Transcribe clips that have no text, with Whisper."
)
@click.option("--whisper", help="Whisper model for --transcribe: a folder or Hub id.")
@click.option(
    "--language",
    help="Language (ISO 639-3), or 'column' for that of each clip.  [default: detected]",
)
@click.option("--cache", "-c", type=PATH, help="Cache folder to keep embeddings in.")
@ENCODERS
@click.option(
    "--speaker", metavar="COLUMN", help="Column of speakers, for models with scale: speaker."
)
@click.option(
    "--one-speaker",
    is_flag=True,
    help="All INPUTS are one speaker, for models with scale: speaker.",
)
@SYSTEM
@ROOT
@click.option(
    "--top", type=click.IntRange(1), help="Show only this many labels, the most probable first."
)
@click.option("--window", type=POSITIVE, help="Length of a window in seconds, for a timeline.")
@click.option("--hop", type=POSITIVE, help="Seconds between two windows.  [default: half a window]")
@click.option("--figure", type=PATH, help="File for a plot of the timeline (.png).")
@click.option(
    "--damage",
    type=click.Choice(["refuse", "accept"]),
    help="Policy for audio with more than 50 ms and 1 % missing or unreadable."
    "  [default: that of the model's encoder]",
)
@DEVICE
@JSON
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="File for the predictions (.csv or .jsonl).",
)
@click.option(
    "--keep-columns",
    is_flag=True,
    help="Also write the columns of the table, with a row for each of its clips (.csv).",
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
    speaker: str | None,
    one_speaker: bool,
    system: str | None,
    root: Path | None,
    top: int | None,
    window: float | None,
    hop: float | None,
    figure: Path | None,
    damage: str | None,
    device: str,
    as_json: bool,
    output: Path | None,
    keep_columns: bool,
) -> None:
    """Predict with MODEL: a model folder, a Hub id, or the folder of a run.

    INPUTS are audio files, folders of them, or one manifest. The model's own features are
    computed as in training: by the same encoder, checked by its spec and its canary. Clips that
    cannot be embedded are listed with a reason, and the exit code is 3.

    A long recording becomes a timeline with --window 4 --hop 2: id, start, end, label and
    probabilities of each window, and a figure with --figure.
    """
    from ...cache.cache import Cache
    from ..data.task_file import check_columns
    from ..heads import without_sklearn as serving
    from ..models.folders.run_folder import learnt_from, systems_without
    from ..models.new_clips.named_inputs import name_clips
    from ..models.new_clips.own_encoders import check_places
    from .loading import open_system
    from .missing_text import with_text
    from .output import (
        SHOWN,
        as_rows,
        columns_beside,
        say_remarks,
        show,
        write_beside,
        write_output,
    )

    _check_options(ctx.params)
    if ctx.obj:  # the process is our own: nothing will be fitted in it
        serving.only_serve()
    chosen = open_system(model, system=system, encoders=encoders)
    for note in check_places(chosen.specs(), encoders):
        to_stderr(note)
    if top is not None and chosen.is_numeric:
        raise InputError(
            f"--top {top} is for labels, and {model} predicts numbers "
            f"({', '.join(chosen.labels)}); leave it out"
        )
    named = name_clips(inputs, text=text, root=root)
    clips, unread = named.clips, named.failed
    clips = _with_speakers(clips, chosen, speaker, one_speaker)
    if keep_columns and clips.source not in inputs:
        raise InputError("--keep-columns is for a table of clips; leave it out")
    if keep_columns:
        columns_beside(clips, chosen.task.nothing())
    _check_places(output, figure, [*inputs, *_own_predictions(model)], clips, kept=keep_columns)
    if output is not None and output.suffix != ".jsonl":
        check_columns(chosen.labels, output)
    if cache is not None and not cache.is_file():  # a packed one is a file
        check_cache_folder(cache)
    for note in filter(None, (*named.notes, learnt_from(model, clips))):
        to_stderr(note)
    if window is not None:
        from .timeline import windows

        clips, without = windows(clips, window, window / 2 if hop is None else hop)
        unread = unread | without
    with _kept(cache) as place:
        store = Cache(place)
        spoken = {"transcribe": transcribe, "whisper": whisper, "language": language}
        clips = with_text(chosen, clips, store, **spoken, device=device, progress=to_stderr)
        answer = chosen.predict(
            clips,
            store,
            encoders=encoders,
            device=device,
            damage=damage,
            progress=len(clips) > SHOWN,
        )
    say_remarks(answer, unread, window=window is not None)
    for kind in ("audio", "text"):
        lacking = any(f"no {kind}" in code for code in answer.failed.values())
        if lacking and (others := systems_without(model, kind)):
            to_stderr(f"Without {kind}: --system {in_shell(others[0])}")
    predictions = chosen.task.nothing() if answer.predictions is None else answer.predictions
    more = _more(clips, predictions, answer.remarks, windows=window is not None)
    rows = as_rows(predictions, top, more)
    table = len(rows) > SHOWN and not as_json if output is None else output.suffix == ".csv"
    if top is not None and table:
        to_stderr("--top: a table has every label")
    if output is not None and keep_columns:
        write_beside(output, clips, predictions)
    elif output is not None:
        write_output(output, predictions, rows, None if window is None else clips)
    if figure is not None:
        _draw(figure, clips, predictions, chosen.task)
    if as_json:
        print_json(rows)
    elif output is None:
        show(predictions, rows)
    ctx.exit(3 if answer.failed or unread else 0)


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse, before any work, options without effect and impossible ones."""
    of_windows = (options["hop"], options["figure"])
    if options["window"] is None and any(value is not None for value in of_windows):
        raise InputError("--hop and --figure belong to a timeline; add --window SECONDS")
    for name in ("whisper", "language"):
        if options[name] is not None and not options["transcribe"]:
            raise InputError(f"--{name} is for --transcribe, which was not given")
    output, cache = options["output"], options["cache"]
    if options["keep_columns"] and (
        output is None or output.suffix != ".csv" or options["window"] is not None
    ):
        raise InputError("--keep-columns is for -o FILE.csv, without --window")
    if options["damage"] and cache is not None:
        raise InputError(
            f"--damage {options['damage']} is not a rule of the model's encoder, so its rows are"
            " not kept: leave --cache out"
        )
    if output is not None:
        from .output import check_form

        check_form("-o", output)
    if options["figure"] is not None:
        from .drawing import check_figure

        check_figure(options["figure"])
    of_models = ("config.json", "model.safetensors", "comparison.json")
    if cache is not None and any((cache / name).is_file() for name in of_models):
        raise InputError(f"--cache {cache} is a model or a run; name a cache, or a new folder")


def _with_speakers(
    clips: Manifest, chosen: System, column: str | None, one_speaker: bool
) -> Manifest:
    """Return the clips with their speakers, for models that scale within speakers."""
    needed = any(model.scaling.scale == "speaker" for model in chosen.models.values())
    if (column is not None or one_speaker) and not needed:
        raise InputError(
            f"{'--one-speaker' if one_speaker else '--speaker'} is for models trained with "
            "scale: speaker; this one does not need it"
        )
    if column is not None:
        if one_speaker:
            raise InputError("--speaker and --one-speaker exclude each other; give one of them")
        if column not in clips:
            raise InputError(
                f"--speaker: no column {column!r} in {clips.source}; "
                f"{expected_one_of(column, clips.columns)}"
            )
        clips = clips.with_columns(speaker=[str(name) for name in clips[column]])
    if one_speaker:
        named = sorted({name for name in clips["speaker"] if name})
        if len(named) > 1:
            found = f"the manifest names {len(named)} ({', '.join(named[:3])})"
            raise InputError(f"--one-speaker: {found}")
        return clips.with_columns(speaker=named[0] if named else "the speaker of these files")
    return clips


def _own_predictions(run: str) -> Iterator[str]:
    """Yield the files of predictions in the folder of a run, of repeats too."""
    for kind in ("members", "ensembles"):
        yield from map(str, Path(run).rglob(f"{kind}/*/*.csv"))


def _check_places(
    output: Path | None, figure: Path | None, inputs: Sequence[str], clips: Manifest, *, kept: bool
) -> None:
    """Refuse to write over what is read, or where nothing can be written.

    Where columns are `kept`, a file that is there may be a table of the user.
    """
    from .drawing import is_figure
    from .output import is_output
    from .timeline import MADE_BY

    is_ours = partial(is_figure, made_by=MADE_BY)
    own = None if kept else is_output
    for option, path, ours in (("-o", output, own), ("--figure", figure, is_ours)):
        if path is not None:
            check_output(option, path, chain(inputs, recordings(clips)), ours)
    if output is not None and figure is not None and output.absolute() == figure.absolute():
        raise InputError(f"--figure {figure} is -o too; choose another name")


@contextmanager
def _kept(cache: Path | None) -> Iterator[Path]:
    """Yield where embeddings go: the cache, or a folder that is removed at the end."""
    if cache is not None:
        yield cache
        return
    try:
        with tempfile.TemporaryDirectory() as place:
            yield Path(place) / "cache"
    except KeyboardInterrupt as stop:
        stop.add_note("Nothing was kept; with --cache FOLDER a second run continues from there.")
        raise


def _more(
    clips: Manifest, predictions: Predictions, remarks: Mapping[str, str], *, windows: bool
) -> dict[str, dict[str, Any]]:
    """Return by id, for JSON: the place of a window, transcripts, paths of long names, remarks."""
    from ..models.new_clips.named_inputs import long_names
    from .missing_text import transcribed
    from .timeline import timeline_rows

    found: dict[str, dict[str, Any]] = defaultdict(dict)
    places = timeline_rows(clips, predictions) if windows else ()
    for name, (recording, start, end, *_) in zip(predictions.ids, places, strict=windows):
        found[name] = {"recording": recording, "start": start, "end": end}
    noted = {name: {"remark": remark} for name, remark in remarks.items()}
    for more in (transcribed(clips), long_names(clips), noted):
        for name, fields in more.items():
            found[name] |= fields
    return found


def _draw(figure: Path, clips: Manifest, predictions: Predictions, task: Task) -> None:
    from ..data.scales import ScaleTask
    from .timeline import draw_timeline

    if not len(predictions):
        to_stderr(f"No figure {figure}: nothing was predicted")
        return
    limits = task.limits if isinstance(task, ScaleTask) else None
    shown, found = draw_timeline(figure, clips, predictions, limits)
    to_stderr(f"Figure: {figure}" + (f", of the first {shown} of {found}" if shown < found else ""))
