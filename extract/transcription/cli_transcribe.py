"""The command `affekt transcribe`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from ...cache.commands.command import Command
from ...cache.commands.terminal import (
    JSON,
    PATH,
    ROOT,
    choice,
    print_result,
    read_clips,
    recordings,
)
from ...cache.errors import one_line
from ...cache.files.cache_marker import check_cache_folder
from ...cache.files.output_checks import check_output
from ..encoders.hardware.device import DEVICE, DTYPE
from ..running.cli_extract import DAMAGE

#: why an answer cannot have been spoken
ODD = {
    "garbled": "because they contain control characters or bytes that are not text",
    "repeats": "because they repeat one phrase over and over",
}

#: why a recording has no words
BLANK = {
    "silent": "silent",
    "too_short": "too short for a word",
    "no_speech": "without speech",
    "empty": "in which nothing was recognised",
}


@click.command(cls=Command)
@click.argument("manifest", type=PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    type=PATH,
    help="Manifest to write (.csv, .tsv or .jsonl), with the texts filled in.",
)
@click.option(
    "--cache",
    "-c",
    type=PATH,
    help="Cache folder for the results.  [default: NAME.cache next to MANIFEST]",
)
@click.option("--model", help="Whisper model: a folder or Hub id.", show_default="large-v3-turbo")
@click.option("--revision", help="Commit, tag or branch on the Hub.")
@click.option(
    "--language",
    help="Language (ISO 639-3), or 'column' for that of each clip.  [default: detected]",
)
@choice("--engine", ["transformers", "faster-whisper"], "Library that runs Whisper.")
@DEVICE
@DTYPE
@DAMAGE
@click.option("--overwrite", is_flag=True, help="Also transcribe clips that have a text.")
@ROOT
@JSON
def transcribe(
    manifest: Path, output: Path, cache: Path | None, model: str | None, language: str | None,
    overwrite: bool, root: Path | None, as_json: bool, **options: Any,
) -> int:  # fmt: skip
    """Transcribe the clips of MANIFEST that have no text.

    Each recording is transcribed once: results are stored by audio, model, commit and language, so
    a second call is quick. The columns text_source, asr, asr_language and asr_reason give the
    source of each text, and why one is blank. Exit code 3: some clips could not be read.
    """
    from ..running.progress import Progress
    from .fill_in_texts import transcribe as fill_in
    from .transcriber import DEFAULT_MODEL, Transcriber

    folder = manifest.with_suffix(".cache") if cache is None else cache
    check_output("-o", output, [manifest], _is_transcribed)
    check_cache_folder(folder)
    clips = read_clips(manifest, root)
    check_output("-o", output, recordings(clips), _is_transcribed)
    if output.suffix not in (".csv", ".tsv", ".jsonl"):
        raise click.BadParameter(f"{output}: expected .csv, .tsv or .jsonl", param_hint="-o")
    per_language = language == "column"
    spoken = None if per_language else language
    transcriber = Transcriber(model or DEFAULT_MODEL, language=spoken, **options)
    progress = Progress(len(clips), "transcribe")
    how = {"per_language": per_language, "overwrite": overwrite}
    done = fill_in(clips, folder, transcriber, **how, progress=progress)
    progress.end()
    done.clips.moved(output.parent).write(output)
    for clip, why in done.failed.items():
        click.echo(f"{one_line(clip)}: {why}", err=True)
    reasons = Counter(why for why in done.clips["asr_reason"] if why in ODD)
    for why, count in sorted(reasons.items()):
        click.echo(f"{count} answers were left out, {ODD[why]} (asr_reason {why})", err=True)
    blank = Counter(why for why in done.clips["asr_reason"] if why in BLANK)
    if blank:
        shown = ", ".join(f"{count} {BLANK[why]}" for why, count in sorted(blank.items()))
        click.echo(f"{blank.total()} transcripts are blank: {shown} (column asr_reason)", err=True)
    counts = {"clips": len(clips), **done.counts, "output": str(output), "cache": str(folder)}
    said = ", ".join(f"{count} {what}" for what, count in done.counts.items())
    text = f"{output}: {len(clips)} clips ({said}); answers kept in {folder}"
    print_result(counts, text, as_json)
    return 3 if done.failed else 0


def _is_transcribed(head: bytes) -> bool:
    """Whether a file begins as this command writes manifests."""
    first = head.split(b"\n", 1)[0]
    return b"text_source" in first and b"asr_reason" in first
