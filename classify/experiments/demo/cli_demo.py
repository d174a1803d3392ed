"""The command `affekt demo`: from nothing to a report."""

from __future__ import annotations

from pathlib import Path

import click

from ....cache.commands.command import Command
from ....cache.commands.heartbeat import heartbeat
from ....cache.commands.terminal import PATH, ROOT
from ....cache.files.output_checks import check_output_folder
from ...options import NO_FIGURES, TASK_OR_LABELS, to_stderr
from ..cli_run import report_outcome


@click.command(cls=Command)
@click.option(
    "--manifest",
    type=PATH,
    help="Your own clips (CSV, TSV, JSONL, Parquet, Excel) instead of the synthetic corpus.",
)
@ROOT
@TASK_OR_LABELS
@click.option(
    "-o", "--output", type=PATH, default="demo", show_default=True,
    help="Folder for the recipe, cache and report.",
)  # fmt: skip
@NO_FIGURES
@click.pass_context
def demo(
    ctx: click.Context,
    manifest: Path | None,
    root: Path | None,
    task: str | None,
    output: Path,
    no_figures: bool,
) -> None:
    """Run a demo on a synthetic corpus, or on your clips.

    Writes a recipe into the output folder, embeds every clip with the encoders that are built in,
    trains a head on each, compares members and ensembles, and prints the table and where the report
    is. A second call does only what changed.
    """
    from ..first_recipe.recipe_for import write_recipe
    from ..run import run

    check_output_folder("-o", output, [] if manifest is None else [manifest])
    if manifest is None:
        manifest = output / "corpus" / "clips.csv"
        if not manifest.is_file():
            from .corpus import write_corpus

            to_stderr("writing a synthetic corpus: computed voices, made-up phrases")
            write_corpus(manifest.parent)
        task = task or "valence"
        click.echo("Synthetic corpus: the numbers below say nothing about real emotion.\n")
    recipe = write_recipe(manifest, output / "recipe.yaml", task, root)
    for note in recipe.notes:
        if note not in recipe.of_table:
            to_stderr(note)
    with heartbeat(to_stderr) as progress:
        outcome = run(recipe.path, progress=progress)
    report_outcome(ctx, outcome, figures=not no_figures)
