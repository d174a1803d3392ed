"""`affekt manifest`: what a table or a corpus is read as, and a manifest of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command
from .terminal import JSON, PATH, ROOT, choice, echo_notes, named_values, print_json

if TYPE_CHECKING:
    from ..manifest import Manifest


@click.command(cls=Command)
@click.argument("source", metavar="FROM", type=PATH)
@click.option("-o", "--output", type=PATH, help="Manifest to write (.csv, .tsv or .jsonl).")
@click.option(
    "--as",
    "kind",
    metavar="KIND",
    help="Kind of corpus, or the pattern of its file names, such as '{speaker}/{label}_{}'.",
)
@ROOT
@click.option("--fold", default=1, show_default=True, help="EmoBox: fold to read.")
@click.option(
    "--table", metavar="NAME", multiple=True, help="audformat: table to read (repeatable)."
)
@choice("--label", ["emotion", "valence"], "Unified data set: which of its two labels to read.")
@click.option(
    "--audio-dir", type=PATH, metavar="DIR",
    help="Folder to write audio to that is stored inside a table.",
)  # fmt: skip
@click.option(
    "--merge-speakers", is_flag=True, help="Merge speakers whose names differ in spelling only."
)
@click.option(
    "--encoding",
    metavar="NAME",
    help="Encoding of a table that is not UTF-8, such as cp1252 (Windows).",
)
@click.option(
    "--column",
    "columns",
    metavar="NAME=COLUMN",
    multiple=True,
    help="Give a column the name that affekt uses, such as label=Emoción (repeatable).",
)
@click.option(
    "--raters",
    metavar="COLUMN",
    help="Join the rows of each clip; the column says which rater a row is of.",
)
@click.option("--dedupe", is_flag=True, help="Keep only the first of identical rows.")
@JSON
def manifest(
    source: Path, output: Path | None, kind: str | None, columns: tuple[str, ...],
    merge_speakers: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Show how FROM is read, and write it as a manifest.

    FROM is a table (CSV, TSV, JSONL, JSON, Parquet, Excel, - for stdin), or a corpus: EmoBox,
    s3prl, Kaldi and audformat folders, data sets of Hugging Face (Parquet, save_to_disk, folders
    with metadata.csv), folders with a table for each part (train.csv, dev.csv, test.csv), the
    unified multilingual data set, and folders of RAVDESS, EmoDB, CREMA-D,
    TESS, SAVEE, EMOVO, ESD, CaFE, AESDD or ShEMO, whose names carry the label.
    """
    from ..errors import InputError, counted, one_of
    from ..files.output_checks import check_output, check_output_folder
    from ..manifest.corpora.finding import KINDS, kind_of, read_corpus
    from ..manifest.described import described
    from ..manifest.tables.table import WRITTEN

    renamed = named_values("--column", columns)
    if kind is not None and "{" not in kind:
        one_of(kind, KINDS, "kind")
    if output is not None:
        if output.suffix.lower() not in WRITTEN:
            raise InputError(f"-o {output}: expected a name that ends in {', '.join(WRITTEN)}")
        if not output.absolute().parent.is_dir():
            raise InputError(f"-o {output}: there is no folder {output.absolute().parent}")
        check_output("-o", output, [source])
    if options["audio_dir"] is not None:
        check_output_folder("--audio-dir", options["audio_dir"])
    found = kind or kind_of(source)
    clips = read_corpus(source, found, columns=renamed, **options)
    clips = _parts(clips)
    if merge_speakers:
        clips = clips.merge_speakers()
    echo_notes(clips)
    if output is not None:
        clips.moved(output.parent).write(output)
    summary = described(clips, found)
    if as_json:
        print_json(summary | {"output": output and str(output)})
        return
    click.echo(f"{source}: {counted(len(clips), 'clip')}, read as {found}")
    width = max(9, *(min(len(name), 24) for name in [*summary["columns"], *summary["kept"]]))
    for name, what in summary["columns"].items():
        click.echo(f"  {name:<{width}} {what}")
    if summary["kept"]:
        click.echo("columns that are kept under their own names:")
    for name, what in summary["kept"].items():
        click.echo(f"  {name:<{width}} {what}")
    if output is not None:
        click.echo(output)


def _parts(clips: Manifest) -> Manifest:
    """Return the clips with parts of other names (Train, validation, Development) under ours."""
    from ..manifest.tables.cells import PARTS

    if "split" not in clips:
        return clips
    ours = {value: PARTS.get(value.casefold(), value) for value in set(clips["split"])}
    changed = [f"{value} is {part}" for value, part in sorted(ours.items()) if part != value]
    if changed:
        click.echo(f"{clips.source}: split: {', '.join(changed)}", err=True)
    return clips.with_columns(split=[ours[value] for value in clips["split"]])
