"""Options and progress shared by the commands of classify."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..cache.commands.terminal import PATH
from ..cache.errors import InputError, check_number, nearest
from ..cache.manifest.column_names import BLANK_LABEL

SCALE = "Standardise the features: true, false, or within each speaker, language or dataset."

CACHE = click.option("--cache", "-c", required=True, type=PATH, help="Cache folder.")
_TASKS = "Task: valence, emotion6, ..., or a YAML file."
TASK = click.option("--task", required=True, help=_TASKS)
TASK_OR_LABELS = click.option("--task", help=f"{_TASKS}  [default: from the labels]")
UNLABELLED = click.option(
    "--unlabelled",
    type=click.Choice(BLANK_LABEL),
    default="error",
    show_default=True,
    help="Clips without a label: an error, or left out.",
)
NO_FIGURES = click.option("--no-figures", is_flag=True, help="Do not write figures/ (SVG and PNG).")
ENCODERS = click.option(
    "--encoder",
    "encoders",
    multiple=True,
    help="Folder of an encoder that the model needs (repeatable).",
)
SYSTEM = click.option(
    "--system", help="Member or ensemble of a run.  [default: the one chosen on dev]"
)


def to_stderr(line: str) -> None:
    """Print progress on stderr."""
    click.echo(line, err=True)


def read_split(text: str) -> dict[str, Any]:
    """Return `--split` as arguments: a scheme, or the file of an earlier split."""
    from .data.splitting.schemes import SCHEMES

    if text in SCHEMES:
        return {"scheme": text}
    if Path(text).suffix or Path(text).exists():
        return {"split": Path(text)}
    raise InputError(
        f"--split is {text!r}; expected the path of a split.csv, or one of {', '.join(SCHEMES)}."
        f"{nearest(text, SCHEMES)}"
    )


#: more random states than needed
MOST_SEEDS = 1000


def check_n_jobs(n_jobs: int) -> None:
    """Refuse an impossible number of processes."""
    if n_jobs == 0:
        raise InputError("--n-jobs is 0; expected a number of processes, or -1 for all cores")


def check_numbers(options: Mapping[str, Any]) -> None:
    """Refuse numbers out of range."""
    check_n_jobs(options.get("n_jobs", -1))
    check_number("random_state", options["random_state"], 0, 2**32 - 1, whole=True)
    check_number("seeds", options.get("seeds", 1), 1, MOST_SEEDS, whole=True)


def read_scale(text: str) -> bool | str:
    """Return the value of ``--scale``."""
    from .models.scalers.scaling import check_scale

    return check_scale({"true": True, "false": False}.get(text, text))


def numbers(option: str, text: str) -> list[float]:
    """Return the numbers of an option, which are separated by commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option} is {text!r}; expected numbers with commas: 0.01,0.1") from None
