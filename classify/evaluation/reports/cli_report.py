"""The commands `affekt report` and `affekt card`: a run as a page, or as a model card."""

from __future__ import annotations

import base64
import mimetypes
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import click

from ....cache.commands.command import Command
from ....cache.commands.terminal import PATH
from ....cache.errors import InputError, shaped
from ....cache.files.atomic_writes import write_whole
from ....cache.files.output_checks import check_output
from ....cache.files.reading import read_object
from ...options import SYSTEM

MOST_AUDIO = 20_000_000  # bytes of recordings in one page


@click.command(cls=Command)
@click.argument("run", type=PATH)
@click.option(
    "--audio",
    type=click.Choice(["link", "embed", "none"]),
    default="link",
    show_default=True,
    help="Recordings: link to the files, embed them (at most 20 MB), or leave them out.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=PATH,
    help="File to write: the page (.html), or LaTeX tables (.tex).",
)
def report(run: Path, audio: str, output: Path) -> None:
    """Write the HTML page of RUN, the folder that `affekt run` or `affekt compare -o` wrote.

    A run already writes one, with links to the recordings; this page can be sent to others, with
    the recordings inside (--audio embed) or without any (--audio none). With -o tables.tex the
    tables are written for LaTeX (booktabs) instead.
    """
    from ..comparison import Comparison
    from .html.page import WRITTEN_BY
    from .latex import NEEDS, repeats_tables, tables

    is_latex = output.suffix.lower() == ".tex"
    if not is_latex and output.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            f"-o {output}: expected a name that ends in .html, or in .tex for LaTeX tables. For "
            "PDF, print the page from a browser"
        )
    if is_latex and audio != "link":
        raise InputError(f"--audio {audio} is for a page, and {output} has tables; leave it out")
    names = ("comparison.json", "repeats.json", "clips.json", "report.html", "report.md")
    read = [run, *(run / name for name in names)]
    mark = NEEDS if is_latex else WRITTEN_BY
    check_output("-o", output, read, lambda head: mark.encode() in head)
    repeats = run / "repeats.json"
    if is_latex:
        with shaped(run, "a report written by affekt; run or compare again"):
            if repeats.is_file():
                text = repeats_tables(read_object(repeats, "the repeats of a run", lenient=True))
            else:
                text = tables(Comparison.read(run).data)
        write_whole(output, text)
        click.echo(f"Tables: {output}", err=True)
        return
    comparison = Comparison.read(run)
    folder = run if run.is_dir() else run.parent
    clips, left = _clips(folder / "clips.json"), 0
    with shaped(folder, "a report written by affekt; run or compare again"):
        if clips is not None:
            left = _with_audio(clips["rows"], audio, folder, output)
        write_whole(output, comparison.html(clips))
    if left:
        click.echo(
            f"{left} recordings are not in the page: they are missing, do not have the name of "
            f"an audio file, or would make it larger than {MOST_AUDIO // 1_000_000} MB",
            err=True,
        )
    click.echo(f"Page: {output}", err=True)


def _clips(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    found = read_object(path, "clips of a report")
    with shaped(path, "the clips of a report written by affekt; run or compare again"):
        if found["format"] != 1:
            raise InputError(f"{path} has format {found['format']}; expected 1")
        return {**found, "rows": [list(row) for row in found["rows"]]}


def _with_audio(rows: list[list[Any]], audio: str, folder: Path, output: Path) -> int:
    """Put the requested audio into rows; return how many recordings did not fit."""
    from ...models.new_clips.named_inputs import AUDIO

    size = left = 0
    for row in rows:
        if row[2] is None:
            continue
        file = folder / unquote(row[2])
        row[2] = None
        if audio == "link":
            relative = os.path.relpath(file.absolute(), output.absolute().parent)
            row[2] = quote(Path(relative).as_posix())
        elif audio == "embed":
            is_audio = file.suffix.lower() in AUDIO  # the page may be shared: no other files
            if not is_audio or not file.is_file() or size + file.stat().st_size > MOST_AUDIO:
                left += 1
                continue
            content = file.read_bytes()
            size += len(content)
            kind = mimetypes.guess_type(file.name)[0] or "audio/wav"
            row[2] = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return left


@click.command(cls=Command)
@click.argument("run", type=PATH)
@SYSTEM
@click.option("-o", "--output", type=PATH, help="File to write.  [default: stdout]")
def card(run: Path, system: str | None, output: Path | None) -> None:
    """Write a model card for RUN, the folder that `affekt run` wrote.

    Every number comes from comparison.json. What only you know (sources, consent, licence) is left
    as a question.
    """
    from .card import model_card

    if (run / "model.safetensors").is_file():
        raise InputError(
            f"{run} is a model; a card describes a run, with its comparison: name the folder that "
            "`affekt run` wrote, and the member with --system"
        )
    if output is not None:
        read = [run, *(run / name for name in ("comparison.json", "repeats.json"))]
        check_output("-o", output, read, lambda head: True)
    text = model_card(run, system)
    if output is None:
        click.echo(text, nl=False)
    else:
        check_output("-o", output, ours=text.encode().startswith)
        write_whole(output, text)
        click.echo(f"Card: {output}", err=True)
