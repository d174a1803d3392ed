"""The commands `affekt init` and `affekt run`: a first recipe, and from clips to a report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ...cache.commands.command import Command
from ...cache.commands.heartbeat import heartbeat
from ...cache.commands.terminal import JSON, PATH, ROOT, print_json, print_result
from ...cache.errors import AffektError, counted, in_shell
from ..options import NO_FIGURES, TASK_OR_LABELS, check_n_jobs, to_stderr

if TYPE_CHECKING:
    from .run import Outcome


@click.command(cls=Command)
@click.argument("manifest", type=PATH, metavar="TABLE")
@click.option(
    "-o", "--output", type=PATH, default="recipe.yaml", show_default=True,
    help="Recipe file to write; an existing file is never changed.",
)  # fmt: skip
@ROOT
@TASK_OR_LABELS
@click.option(
    "-c", "--cache", type=PATH,
    help="Cache whose embeddings are read in place of built-in encoders; no audio is needed.",
)  # fmt: skip
@click.option(
    "--space", "spaces", metavar="NAME", multiple=True,
    help="Space of the cache (repeatable).  [default: all that hold TABLE's clips]",
)  # fmt: skip
@JSON
def init(
    manifest: Path,
    output: Path,
    root: Path | None,
    task: str | None,
    cache: Path | None,
    spaces: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write a first recipe for TABLE.

    TABLE is a table of clips (CSV, TSV, JSONL, Parquet, Excel). The task, the split and the members
    of the recipe suit the table, and its comments list what was noticed, such as too few speakers,
    unknown labels, and missing recordings or texts. Nothing is embedded.
    """
    from .first_recipe.recipe_for import write_recipe

    found = write_recipe(manifest, output, task, root, cache=cache, spaces=spaces)
    if as_json:
        print_json({**vars(found), "path": str(found.path)})
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


@click.command(cls=Command)
@click.argument("recipe", type=PATH)
@click.option("--check", is_flag=True, help="Check the recipe and show what a run would do.")
@click.option(
    "--watch", is_flag=True, help="Run again whenever the recipe, task or table is saved."
)
@click.option("--force", is_flag=True, help="Take over the report folder of another recipe.")
@NO_FIGURES
@click.option(
    "--n-jobs", default=-1, show_default=True, help="Training processes; -1: one per core."
)
@JSON
@click.pass_context
def run(
    ctx: click.Context,
    recipe: Path,
    check: bool,
    watch: bool,
    force: bool,
    no_figures: bool,
    n_jobs: int,
    as_json: bool,
) -> None:
    """Run RECIPE.yaml: extract, train, ensemble, compare, report.

    Only what changed since the last run is done again. Exit code 3: some clips could not be
    embedded; the report lists how many and why.

    --check reports every error that the run would report, and prints for each member and fold the
    number of clips, what is stored, what has to be embedded, and the minutes.

    --watch keeps running, with libraries and embeddings in memory, so that a changed setting gives
    a new result at once. Ctrl-C ends it.
    """
    check_n_jobs(n_jobs)
    if check and watch:
        raise click.UsageError("--check and --watch exclude each other; leave one out")
    if check:
        _check(recipe, own=bool(ctx.obj), force=force, as_json=as_json)
        return
    if ctx.obj:  # the process is the command's own
        from ..heads.lean_imports import in_own_process

        in_own_process()
    from .members.member_table import member_table
    from .run import run as run_recipe

    def run_once(**options: Any) -> Outcome:
        with heartbeat(to_stderr) as lines, member_table(lines) as (progress, on_member):
            how: Any = {"n_jobs": n_jobs, "on_member": on_member, "progress": progress}
            return run_recipe(recipe, **how, **options)

    if watch:
        _watch(recipe, run_once, force=force, figures=not no_figures, as_json=as_json)
    report_outcome(ctx, run_once(force=force), figures=not no_figures, as_json=as_json)


def _watch(
    recipe: Path, run_once: Callable[..., Outcome], *, force: bool, figures: bool, as_json: bool
) -> NoReturn:
    """Run again at every save; an error of the recipe is printed, and waits for the next one."""
    from .recipes.watch import Watched

    watched = Watched(recipe)

    shown: list[str] = []

    def at_once(table: str) -> None:
        if not as_json:
            shown.append(table)
            click.echo(table)

    while True:
        watched.begin()
        shown.clear()
        try:
            outcome = run_once(force=force, on_table=at_once)
            print_outcome(outcome, as_json=as_json, with_table=not shown)
            force = False  # for the first run only
            if figures:
                draw(outcome.folder, stop=watched.is_changed)
        except BrokenPipeError:  # the reader has closed the pipe
            raise
        except (AffektError, OSError) as error:  # a disk that is full, a name that is too long
            for line in (f"affekt: {error}", *getattr(error, "__notes__", ())):
                click.echo(line, err=True)
        names = ", ".join(sorted({path.name for path in watched.marks}))
        to_stderr(f"Watching {names}. Ctrl-C ends.")
        changed = watched.wait()
        to_stderr(f"{', '.join(path.name for path in changed)} changed")


def _check(recipe: Path, *, own: bool, force: bool, as_json: bool) -> None:
    if own:  # the process is our own, and nothing will be fitted in it: no scikit-learn
        from ..heads.without_sklearn import only_serve

        only_serve()
    from .preview import preview

    found = preview(recipe, force=force)
    print_result(found.as_dict(), found.text(), as_json)


def report_outcome(
    ctx: click.Context, outcome: Outcome, *, figures: bool = True, as_json: bool = False
) -> None:
    """Print the table and where the report is, draw; leave with the outcome's exit code."""
    print_outcome(outcome, as_json=as_json)
    if figures:
        draw(outcome.folder)
    ctx.exit(outcome.exit_code)


def draw(folder: Path, stop: Callable[[], bool] = lambda: False) -> None:
    """Draw the figures of a report that changed; print what could not be drawn."""
    from ..evaluation.reports.figure_folder import draw_changed

    for remark in draw_changed(folder, stop):
        to_stderr(remark)


def print_outcome(outcome: Outcome, *, as_json: bool = False, with_table: bool = True) -> None:
    """Print the table, where the report is, and what to do next."""
    if as_json:
        folder = str(outcome.folder)
        print_json({"folder": folder, "did": outcome.did, "quarantined": outcome.quarantined})
    else:
        if with_table:
            click.echo(outcome.table)
        click.echo(f"Report: {outcome.folder / 'report.html'}")
    if not outcome.did:
        to_stderr("Nothing to do: every embedding, member and comparison is up to date.")
    for name, codes in outcome.quarantined.items():
        if codes:
            reasons = ", ".join(f"{count} {code}" for code, count in codes.items())
            to_stderr(
                f"warning: {name}: {sum(codes.values())} clips could not be embedded: {reasons}"
            )
    if outcome.next_step and not as_json:
        to_stderr(outcome.next_step)
