"""The command `affekt compare`: prediction files, also ones made elsewhere, and their ensembles."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...cache.commands.command import Command
from ...cache.commands.terminal import (
    JSON,
    PATH,
    ROOT,
    named_values,
    print_json,
    print_result,
    read_clips,
)
from ...cache.errors import InputError, nearest_beside
from ...cache.files.atomic_writes import write_whole
from ...cache.files.file_locks import locked
from ...cache.files.output_checks import check_output, check_output_folder
from ...cache.manifest.selection import allowed_values
from ..data.predictions import Predictions
from ..data.task import Task
from ..data.vocabulary import left_out_note
from ..options import to_stderr

if TYPE_CHECKING:
    from ...cache.manifest import Manifest
    from .comparison import Comparison

MOST = 5  # warnings that are printed
#: what it writes
REPORT = ("comparison.json", "report.md", "report.html", "clips.json", "tables.tex", "figures")
CONDITION: Any = {"multiple": True, "metavar": "COLUMN=VALUE"}
shown = partial(click.option, show_default=True)


@click.command(cls=Command)
@click.argument("predictions", nargs=-1, metavar="[NAME=]PRED.CSV|RUN...")
@click.option("--truth", type=PATH, help="Manifest with the true labels.")
@ROOT
@click.option(
    "--task", help="Task: valence, emotion6, ..., or a YAML file.  [default: labels as they are]"
)
@click.option("--where", **CONDITION, help="Test clips of the manifest (repeatable: any of them).")
@click.option(
    "--dev", multiple=True, metavar="[NAME=]PRED.CSV", help="Prediction file on dev (repeatable)."
)
@click.option(
    "--dev-where", **CONDITION, help="Dev clips of the manifest (repeatable: any of them)."
)
@click.option("--split", type=PATH, help="split.csv that says which clips are train, dev and test.")
@click.option(
    "--strategies",
    help="Ensembles, with commas; none compares the given systems alone. 'mean of A + B' combines "
    "these members alone.  [default: mean,max; of numbers mean]",
)
@shown("--group", default="speaker", help="Column of groups to resample as a whole.")
@shown("--by", default="language", help="Columns, with commas, that get a table each.")
@click.option(
    "--rename",
    multiple=True,
    metavar="THEIRS=OURS",
    help="Rename a label of the files to one of the task (repeatable).",
)
@click.option("--calibrate", help="Calibrate members on dev: temperature, vector or isotonic.")
@click.option(
    "--calibrate-fused", help="Calibrate ensembles on dev: temperature, vector or isotonic."
)
@click.option("--crossed", metavar="COLUMN", help="Second column to resample, such as sentence.")
@click.option("--subsets", is_flag=True, help="Try every subset of the members on dev.")
@click.option(
    "--all-pairs", is_flag=True, help="Test all pairs, not only those with the chosen system."
)
@click.option("--common", is_flag=True, help="Compare on the clips that are in all files.")
@click.option(
    "--allow-overlap", is_flag=True, help="Allow dev and test to share clips or speakers."
)
@shown("--resamples", "n_resamples", default=10_000, help="Bootstrap resamples.")
@shown("--level", default=0.95, help="Coverage of the intervals.")
@shown("--random-state", default=0, help="Seed of the resampling.")
@click.option(
    "--counts",
    multiple=True,
    metavar="NAME=RIGHT",
    help="Number of correct clips, if only that is known (repeatable).",
)
@click.option("--of", "n", type=int, help="Number of test clips, for --counts.")
@click.option("--latex", is_flag=True, help="Also write tables.tex.")
@shown("--figures/--no-figures", default=True, help="Write figures/ (SVG and PNG).")
@shown("--measure", default="uar", help="Measure to compare, for folders of runs.")
@shown("--rope", default=0.02, help="Largest difference that does not matter, for folders of runs.")
@JSON
@click.option("-o", "--output", type=PATH, help="Folder to write the report to.")
def compare(
    predictions: Sequence[str],
    counts: Sequence[str],
    n: int | None,
    measure: str,
    rope: float,
    as_json: bool,
    figures: bool,
    **options: Any,
) -> None:
    """Compare prediction files and their ensembles on the same clips.

    Each PRED.CSV has the columns id, label and one probability per class; for a regression task, id
    and predicted_DIMENSION (as affekt writes it) or DIMENSION. Members are named by their file (or
    its folder, for pred.csv and dev.csv), or as NAME=PRED.CSV. Whatever is fitted or chosen uses
    --dev. If only the numbers of correct clips are known: --counts mean=225 --counts beto=221 --of
    300.

    Folders of runs (one per corpus, with the same member names) are compared across corpora: affekt
    compare out-emodb out-ravdess ...
    """
    if counts:
        if predictions or n is None:
            raise InputError("--counts needs --of CLIPS, and no prediction files")
        from .scores.counts import compare_counts, counts_text

        right = {name: _int(name, text) for name, text in named_values("--counts", counts).items()}
        result = compare_counts(right, n)
        print_result(result, counts_text(result), as_json, indent=1)
        return
    if _are_runs(predictions, options):
        _compare_runs(predictions, measure, rope, as_json, **options)
        _draw(options["output"], figures)
        return
    _refuse_given(("measure", "rope"), "prediction files")
    if not predictions or not options["truth"]:
        for place in (Path(one) for one in predictions if "=" not in one):
            if not place.exists():
                raise InputError(
                    f"{place}: there is no such file or folder.{nearest_beside(place)}"
                )
        raise InputError(
            "nothing to compare; expected prediction files and --truth MANIFEST, or the folders of "
            "several runs"
        )
    output, latex = options["output"], options.pop("latex")
    if latex and output is None:
        raise InputError("--latex needs -o FOLDER")
    comparison = _compare(predictions, **options)
    for note in left_out_note(comparison.data["test"]["left_out"]):
        to_stderr(note)
    _warn(comparison.data["warnings"])
    if output is not None:
        _write(comparison, output, latex)
    if as_json:
        print_json(json.loads(comparison.json()), indent=1)
    else:
        click.echo("\n".join([comparison.table(), *comparison.differences(3)]))
    _draw(output, figures)


OF_RUNS = ("predictions", "measure", "rope", "random_state", "as_json", "output")


def _are_runs(given: Sequence[str], options: Mapping[str, Any]) -> bool:
    from .across_runs import is_run_place

    return (
        bool(given)
        and options["truth"] is None
        and all(is_run_place(one) or is_run_place(one.partition("=")[2] or "-") for one in given)
    )


def _compare_runs(
    runs: Sequence[str],
    measure: str,
    rope: float,
    as_json: bool,
    *,
    random_state: int,
    output: Path | None,
    **others: Any,
) -> None:
    from .across_runs import compare_runs
    from .reports.markdown.across_report import check_runs_folder, runs_text, write_runs

    _refuse_given([name for name in others if name not in OF_RUNS], "runs")
    if output is not None:
        check_runs_folder(output)
    found = compare_runs(runs, measure=measure, rope=rope, random_state=random_state)
    print_result(found, runs_text(found), as_json, indent=1)
    if output is not None:
        click.echo(f"report: {write_runs(output, found)}", err=True)


def _refuse_given(names: Sequence[str], what: str) -> None:
    """Refuse options that would have no effect."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} has no effect on {what}; leave it out")


def _compare(
    predictions: Sequence[str],
    *,
    truth: Path,
    root: Path | None,
    task: str | None,
    where: Sequence[str],
    dev: Sequence[str],
    dev_where: Sequence[str],
    split: Path | None,
    strategies: str | None,
    group: str,
    by: str,
    rename: Sequence[str],
    output: Path | None,
    n_resamples: int,
    common: bool,
    **options: Any,
) -> Comparison:
    from ..data.splitting.split_file import dev_of_folds, read_split_file, with_parts
    from .compare import compare_with
    from .compare_options import CompareOptions
    from .joining import in_common, match_case, task_as_is

    if output is not None:
        _check_report(output, [truth, *([] if split is None else [split])], [*predictions, *dev])
    names = named_values("--rename", rename)
    given = Task.of(task) if task else None
    members = _members(predictions, names, given)
    clips = read_clips(truth, root, labels_only=True)
    settings: dict[str, Any] = {}
    folds: dict[str, dict[str, str]] = {}
    if split is not None:
        folds = read_split_file(split, clips.ids)
        clips = with_parts(clips, folds)
        where = (*where, "split=test")
        dev_where = (*dev_where, *(["split=dev"] if len(folds) == 1 else []))
    test, members = _where(clips, where, members)
    left, unlabelled = "", {}
    if common:
        members, test, left, unlabelled = in_common(members, test, given)
    labels = given.labels if given else [str(label) for label in test.column("label")]
    members = match_case(members, labels, given, to_stderr)
    task_ = given or task_as_is(members, test)
    if split is not None:
        settings["split"] = _splits(task_.select(clips, blank="drop")[0], folds)
    if dev:
        if not dev_where and split is None:
            raise InputError("--dev needs --dev-where COLUMN=VALUE or --split to know its clips")
        pooled = clips if len(folds) < 2 else dev_of_folds(clips, folds)
        settings["dev_truth"], tuning = _where(pooled, dev_where, _members(dev, names, given))
        settings["dev"] = match_case(tuning, task_.labels, given, to_stderr)
    named: Any = None
    if strategies is not None:
        named = tuple(s for s in map(str.strip, strategies.split(",")) if s and s != "none")
    try:
        how = CompareOptions(
            strategies=named,
            groups=group or None,
            by=[column for column in by.split(",") if column],
            n_resamples=n_resamples,
            **options,
        )
        comparison = compare_with(how, members, test, task_, **settings)
    except InputError as error:
        if split is None and not where and all(len(m) < len(test) for m in members.values()):
            error.add_note(
                "if the manifest holds more than the test clips, say which they are: --split "
                "split.csv (a run leaves one), or --where split=test"
            )
        elif not common and any(
            0 < len({*test.ids}.intersection(m.ids)) < len(test) for m in members.values()
        ):
            error.add_note("--common compares on the clips that all files have")
        raise
    if left:
        comparison.data["warnings"].insert(0, left)
    if unlabelled:
        comparison.data["test"]["left_out"] = unlabelled
    return comparison


def _warn(warnings: Sequence[str]) -> None:
    more = [f"{len(warnings) - MOST} more warnings are in the report (-o)"]
    for warning in warnings if len(warnings) <= MOST + 1 else [*warnings[:MOST], *more]:
        click.echo(f"warning: {warning}", err=True)


def _write(comparison: Comparison, output: Path, latex: bool) -> None:
    output.mkdir(parents=True, exist_ok=True)
    with locked(output, wait=True):  # the files of two commands are never mixed
        comparison.write(output)
        if latex:
            from .reports.latex import tables

            write_whole(output / "tables.tex", tables(comparison.data))
    click.echo(f"report: {output / 'report.html'}", err=True)


def _draw(output: Path | None, figures: bool) -> None:
    """Draw what changed, once the table and the report are there."""
    if output is None or not figures:
        return
    from .reports.figure_folder import draw_changed

    with locked(output, wait=True):
        remarks = list(draw_changed(output))
    for remark in remarks:
        click.echo(remark, err=True)


def _check_report(output: Path, tables: Sequence[Path], members: Sequence[str]) -> None:
    """Refuse, before any work, a folder that holds anything but a report of this command."""
    from ..models.folders.run_folder import is_run, other_use
    from .comparison import Comparison

    inputs = [*tables, *members, *(name.partition("=")[2] for name in members)]
    check_output_folder("-o", output, [*inputs, *(path.parent for path in tables)])
    if what := other_use(output):
        raise InputError(f"-o {output} is {what}; choose another folder")
    there = [name for name in REPORT if os.path.lexists(output / name)]
    ours = False
    if (output / "comparison.json").is_file():
        ours = "run" not in Comparison.read(output).data
    if (is_run(output) or there) and not ours:
        raise InputError(
            f"-o {output} holds {there[0] if there else 'members'}, which this command did not "
            "write; choose another folder"
        )
    for name in (name for name in there if name != "figures"):
        check_output("-o", output / name, inputs, lambda head: ours)


def _members(
    files: Sequence[str], rename: Mapping[str, str], task: Task | None
) -> dict[str, Predictions]:
    found: dict[str, Predictions] = {}
    for given in files:
        name, _, path = given.partition("=")
        if not path or Path(given).exists():
            path = given
            stem = Path(given).stem
            name = Path(given).resolve().parent.name if stem in ("pred", "dev") else stem
        if name in found:
            raise InputError(f"two members have the name {name!r}; rename them: NAME={path}")
        if task is None or task.kind == "labels":
            found[name] = Predictions.read(path, rename=rename)
        else:
            found[name] = task.read_predictions(path, rename)
    return found


def _where(clips: Manifest, conditions: Sequence[str], members: Mapping[str, Any]) -> Any:
    """Select clips and the rows of members; several values of one column are alternatives."""
    given = clips
    wanted: dict[str, list[str]] = {}
    for text in conditions:
        [(column, value)] = named_values("--where", [text]).items()
        wanted.setdefault(column, []).append(value)
    for column, values in wanted.items():
        for value in values:
            if allowed_values(column, value).isdisjoint(clips[column]):
                raise InputError(f"{clips.source}: no clip has {column} {value!r}")
        clips = clips.where(**{column: values})
    others = set(given.ids).difference(clips.ids)
    return clips, {n: m.select([i for i in m.ids if i not in others]) for n, m in members.items()}


def _splits(clips: Manifest, folds: Mapping[str, Mapping[str, str]]) -> Any:
    """Return a split for each fold; what it shares is warned of in the report, not refused."""
    from ..data.splitting.schemes import splits

    found = []
    for name, parts in folds.items():
        kept = clips.select([clip for clip in clips.ids if clip in parts])
        kept = kept.with_columns(split=[parts[clip] for clip in kept.ids])
        [one] = splits(
            kept, "column", dev_size=0, allow_speaker_overlap=True, allow_duplicates=True
        )
        found.append(replace(one, name=name))
    return found


def _int(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--counts {name}={text!r}; expected a number of clips") from None
