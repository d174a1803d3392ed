"""The command `affekt probe`: UAR or CCC by layer, and which layer and penalty to take."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ...cache.commands.command import Command
from ...cache.commands.terminal import JSON, PATH, ROOT, print_result, read_clips, recordings
from ...cache.files.output_checks import check_output
from ...extract.encoders.hardware.device import DEVICE
from ..options import (
    CACHE,
    SCALE,
    TASK,
    UNLABELLED,
    check_numbers,
    numbers,
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
    "--space",
    "spaces",
    required=True,
    multiple=True,
    help="Space of the cache; give several to compare them.",
)
@click.option(
    "--split",
    "scheme",
    default="group-kfold",
    show_default=True,
    metavar="SCHEME|FILE",
    help="Outer folds: a split scheme, or the split.csv of an earlier run.",
)
@click.option(
    "--folds",
    "n_splits",
    default=5,
    show_default=True,
    help="Number of folds of --split group-kfold.",
)
@click.option(
    "--test-size",
    default=0.2,
    show_default=True,
    help="Share of the clips for test, if --split has no folds.",
)
@click.option("--scale", default="true", show_default=True, help=SCALE)
@click.option(
    "--C",
    "C",
    show_default="0.0001,0.001,0.01,0.1,1",
    help="Values of C to try, for a classification task.",
)
@click.option(
    "--alpha",
    show_default="0.01,0.1,...,1000000",
    help="Values of alpha to try, for a regression task.",
)
@click.option("--random-state", default=0, show_default=True, help="Seed of the folds.")
@click.option("--n-jobs", default=-1, show_default=True, help="Threads; -1: one per core.")
@DEVICE
@click.option("--figure", type=PATH, help="File for a plot of scores by layer (.png).")
@JSON
def probe(
    manifest: Path, root: Path | None, cache: Path, task: str, spaces: tuple[str, ...], scheme: str,
    scale: str, C: str | None, alpha: str | None, figure: Path | None, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Score every layer of one or more spaces with a linear model, and choose the best.

    The model is a logistic regression, scored by UAR; for a regression task it is a ridge
    regression, scored by CCC. Every layer is scored on the test clips of outer folds, with a 95 %
    interval over speakers; its C or alpha is chosen on inner folds, by speaker. The layer is chosen
    there too: `affekt train --layers probe` and `layers: probe` in a recipe choose it from the
    training clips.
    """
    from ...cache.cache import Cache
    from ..data.task import Task
    from ..serving.drawing import check_figure, is_figure
    from .nested import probe as find
    from .result import MADE_BY

    is_ours = partial(is_figure, made_by=MADE_BY)
    check_numbers({name: options[name] for name in ("n_jobs", "random_state")})
    scale_ = read_scale(scale)
    penalties = {
        name: numbers(f"--{name}", given)
        for name, given in (("C", C), ("alpha", alpha))
        if given is not None
    }
    if figure is not None:
        check_figure(figure)
        check_output("--figure", figure, [manifest, task], is_ours)
    clips = read_clips(manifest, root)
    if figure is not None:
        check_output("--figure", figure, recordings(clips), is_ours)
    store = Cache(cache, readonly=True)
    found = find(
        clips,
        {name: store.space(name) for name in spaces},
        Task.of(task),
        **penalties,
        **read_split(scheme),
        **options,
        scale=scale_,
        progress=to_stderr,
    )
    if figure is not None:
        found.plot(figure)
        to_stderr(f"Figure: {figure}")
    print_result(found.data, found.table(), as_json)
    if found.data["quarantined"]:
        click.get_current_context().exit(3)
