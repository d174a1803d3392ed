"""The command `affekt init`: a first recipe for a table."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .....cache.commands.terminal import ROOT
from .....cache.errors import counted, in_shell


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path), metavar="TABLE")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default="recipe.yaml", show_default=True,
    help="The recipe; a file that is there is never changed.",
)  # fmt: skip
@ROOT
@click.option(
    "--task", help="Labels: valence, emotion6, ..., or a YAML file  [default: from the labels]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def init(manifest: Path, output: Path, root: Path | None, task: str | None, as_json: bool) -> None:
    """Look at TABLE and write a first recipe for it.

    TABLE is a table of clips (CSV, TSV, JSONL, Parquet, Excel). The recipe's members, task and
    split are those that the table allows, and its comments say what was noticed: speakers that are
    too few, labels that no task knows, recordings or texts that are missing. Nothing is embedded.
    """
    from .recipe_for import write_recipe

    found = write_recipe(manifest, output, task, root)
    if as_json:
        facts = {**vars(found), "path": str(found.path)}
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    click.echo(f"{manifest}: {', '.join([counted(found.clips, 'clip'), *found.facts])}")
    click.echo(f"  task     {found.task}")
    click.echo(f"  split    {found.split}")
    click.echo(f"  members  {', '.join(found.members)}")
    if found.notes:
        click.echo("Noticed:")
    for note in found.notes:
        click.echo(f"  - {note}")
    click.echo(f"Recipe: {found.path}")
    click.echo(f"Next: affekt run --check {in_shell(found.path)}")
