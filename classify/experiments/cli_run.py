"""The command `affekt run`, and how its outcome is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import say

if TYPE_CHECKING:
    from .run import Outcome

__all__ = ["report_outcome", "run"]


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Check everything and count, but do no work.")
@click.option("--force", is_flag=True, help="Take over the report folder of another recipe.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.pass_context
def run(ctx: click.Context, recipe: Path, check: bool, force: bool, as_json: bool) -> None:
    """Run RECIPE.yaml: extract, train, ensemble, compare, report.

    Only what changed since the last run is done again. Exit code 3: some clips could not be
    embedded; the report lists how many and why.

    --check reports every error that the run would report, and prints for each member and fold the
    number of clips, what is stored, what has to be embedded, and the minutes.
    """
    if check:
        _check(recipe, own=bool(ctx.obj), as_json=as_json)
        return
    from .run import run as run_recipe

    report_outcome(ctx, run_recipe(recipe, force=force, say=say), as_json=as_json)


def _check(recipe: Path, *, own: bool, as_json: bool) -> None:
    if own:  # the process is our own, and nothing will be fitted in it: no scikit-learn
        from ..heads.without_sklearn import only_serve

        only_serve()
    from .preview import preview

    found = preview(recipe)
    click.echo(json.dumps(found.as_dict(), ensure_ascii=False) if as_json else found.text())


def report_outcome(ctx: click.Context, outcome: Outcome, *, as_json: bool = False) -> None:
    """Print the table and where the report is; leave with the outcome's exit code."""
    if as_json:
        told = {
            "folder": str(outcome.folder),
            "did": outcome.did,
            "quarantined": outcome.quarantined,
        }
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        click.echo(outcome.table)
        click.echo(f"Report: {outcome.folder / 'report.html'}")
    if not outcome.did:
        say("Nothing to do: every embedding, member and comparison is up to date.")
    for name, codes in outcome.quarantined.items():
        if codes:
            reasons = ", ".join(f"{count} {code}" for code, count in codes.items())
            say(f"{name}: {sum(codes.values())} clips could not be embedded: {reasons}")
    ctx.exit(outcome.exit_code)
