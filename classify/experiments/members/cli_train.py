"""The command `affekt train`: one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ....cache.commands.command import Command
from ....cache.commands.terminal import JSON, PATH, ROOT, print_json, read_clips, recordings
from ....cache.errors import InputError
from ....cache.files.output_checks import check_output
from ...options import (
    CACHE,
    SCALE,
    TASK,
    UNLABELLED,
    check_numbers,
    read_scale,
    read_split,
    to_stderr,
)


@click.command(cls=Command)
@click.argument("manifest", type=PATH)
@ROOT
@CACHE
@TASK
@UNLABELLED
@click.option(
    "--split",
    "scheme",
    default="speaker",
    show_default=True,
    metavar="SCHEME|FILE",
    help="Split scheme, or the split.csv of an earlier run.",
)
@click.option("--test-size", default=0.2, show_default=True, help="Share of the clips for test.")
@click.option("--dev-size", default=0.1, show_default=True, help="Share of the clips for dev.")
@click.option(
    "--random-state", default=0, show_default=True, help="Seed of the split and the head."
)
@JSON
@click.option(
    "--space",
    "spaces",
    required=True,
    multiple=True,
    help="Space of the cache; give two for a fusion head.",
)
@click.option(
    "--head",
    required=True,
    help="Head: logistic, lda, mlp or patch; for two spaces concat, mean or cross-attention;"
    " for regression tasks ridge or regression.",
)
@click.option(
    "--layers", default="-1", show_default=True, help="Layers: 12, 6,12 (together), all, or probe."
)
@click.option(
    "--combine",
    default="concat",
    show_default=True,
    help="How to combine layers: concat, mean or mix.",
)
@click.option("--scale", default="true", show_default=True, help=SCALE)
@click.option("--no-scale", is_flag=True, help="The same as --scale false.")
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    help="Number of seeds to train; the best on dev is kept.",
)
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Setting of the head (repeatable)."
)
@click.option(
    "--pred",
    type=PATH,
    help="File for the predictions on test (.csv or .jsonl).",
)
@click.option("-o", "--output", required=True, type=PATH, help="Model folder to write.")
def train(
    manifest: Path,
    root: Path | None,
    cache: Path,
    task: str,
    output: Path,
    as_json: bool,
    pred: Path | None,
    scale: str,
    no_scale: bool,
    scheme: str,
    **options: Any,
) -> None:
    """Train one model on the clips of MANIFEST and save it.

    The clips are divided by --split; scores on dev and test are printed. What is saved was trained
    on train alone: config.json and model.safetensors. A scheme of several folds trains and scores
    one model for each; what is saved was then trained on all clips.
    """
    from ...models.folders.model_folder import check_target
    from ...serving.output import as_rows, check_form, is_output, write_output
    from .train import fold_table, train_model

    check_target(output, "-o")
    check_numbers(options)
    if pred is not None:
        check_form("--pred", pred)
        check_output("--pred", pred, [manifest, task], is_output)
        if pred.absolute().is_relative_to(output.absolute()):
            raise InputError(f"--pred {pred} is inside the model's folder {output}")
    clips = read_clips(manifest, root)
    if pred is not None:
        check_output("--pred", pred, recordings(clips), is_output)
    model, record = train_model(
        clips,
        cache,
        task,
        scale=False if no_scale else read_scale(scale),
        progress=to_stderr,
        **read_split(scheme),
        **options,
    )
    model.save_pretrained(output)
    if pred is not None:
        write_output(pred, record["test"], as_rows(record["test"], None, {}))
    summary = {key: value for key, value in record.items() if key not in ("test", "fit")}
    key = model.task.measure
    name = key.upper()
    if as_json:
        print_json({"model": str(output), **summary})
    elif "folds" in record:
        click.echo(fold_table(record))
        click.echo(f"Model: {output}, trained on all {record['refit']['clips']} clips")
    else:
        dev = "" if record[f"dev_{key}"] is None else f"dev {name} {record[f'dev_{key}']:.3f}, "
        click.echo(f"{dev}test {name} {record[f'test_{key}']:.3f} on {record['test_clips']} clips")
        if over := record.get("over_seeds"):
            shown = f"{over['mean']:.3f}, sd {over['sd']:.3f}"
            click.echo(f"test {name} over {over['n']} seeds {shown}")
        click.echo(f"Model: {output}")
    if record["quarantined"]:
        click.get_current_context().exit(3)
