"""The commands `affekt import-model` and `affekt convert-scaler`: published files for affekt."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from ....cache.commands.command import Command
from ....cache.commands.terminal import PATH
from ....cache.errors import InputError, in_shell
from ....cache.files.output_checks import check_output
from ....extract.encoders.hardware.device import DEVICE


@click.command("import-model", cls=Command)
@click.argument("place", metavar="FOLDER")
@click.option("-o", "--output", type=PATH, required=True, help="Model folder to write.")
@click.option(
    "--encoder", "encoders", multiple=True, help="Encoder of the model: a folder or Hub id."
)
@click.option(
    "--mode",
    help="Mode of a UMUTeam model; needed for audio and mean, whose tensors look the same.",
)
@click.option("--labels", help="Labels in the order of the outputs, such as A,B,C.")
@click.option("--scaler", type=PATH, help="Scaler file, if it is not in FOLDER.")
@click.option("--no-scaler", is_flag=True, help="The head was trained on unscaled features.")
@click.option(
    "--i-trust-this-file", "trust", is_flag=True, help="Allow a pickled scaler to be converted."
)
@click.option(
    "--nhead",
    type=click.IntRange(1),
    help="Number of attention heads; 8 in the valence model card.",
)
@click.option(
    "--activation", type=click.Choice(["relu", "gelu"]), help="Activation of the encoder layers."
)
@click.option(
    "--head-activation", type=click.Choice(["relu", "gelu"]), help="Activation of the last layers."
)
@click.option("--norm-first/--norm-last", default=None, help="Position of the layer norms.")
@click.option(
    "--input-dim", type=click.IntRange(1), help="Number of features, if there is no scaler."
)
@click.option("--revision", help="Commit, tag or branch on the Hub.")
@DEVICE
def import_model(
    place: str,
    output: Path,
    encoders: tuple[str, ...],
    scaler: Path | None,
    no_scaler: bool,
    trust: bool,
    labels: str | None,
    revision: str | None,
    device: str,
    **settings: Any,
) -> None:
    """Convert a published checkpoint to a model.

    FOLDER (or a Hub id) is the Vocametrix valence classifier, a UMUTeam emotion model, or a
    fine-tuned classifier of transformers. The resulting model predicts the same probabilities; use
    it with `affekt predict` or load_model. No code of FOLDER is run; a pickled scaler is read only
    with --i-trust-this-file, by the process that convert-scaler uses.
    """
    from ..folders.model_folder import check_target
    from . import published

    if no_scaler and (scaler is not None or trust):
        raise InputError("--no-scaler was given with --scaler or --i-trust-this-file; choose one")
    check_target(output, "-o")
    if labels is not None:
        settings["labels"] = [name.strip() for name in labels.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        if no_scaler:
            settings["scaler"] = False
        elif scaler is not None or trust:
            settings["scaler"] = _converted(place, scaler, trust, Path(scratch))
        found = published(
            place, encoders=encoders, device=device, any_id=True, revision=revision, **settings
        )
    if found is None:
        raise InputError(
            f"{place} is not a checkpoint that can be imported: expected a folder or Hub id of the "
            "Vocametrix valence head (.safetensors with a transformer's layers), of a UMUTeam "
            "model, or of a fine-tuned classifier that transformers has"
        )
    found.take_canaries()
    found.model.save_pretrained(output)
    names = " and ".join(need.spec.name for need in found.model.needs)
    click.echo(f"{output}: {found.model.head_.name} head on {names}")
    click.echo(f"labels: {', '.join(found.model.task.labels)}")
    inputs = " --text TEXT" if found.model.needs[-1].spec.modality == "text" else ""
    inputs = (" FILE" if found.model.needs[0].spec.modality == "audio" else "") + inputs
    click.echo(f"affekt predict {in_shell(output)}{inputs}")


def _converted(place: str, scaler: Path | None, trust: bool, scratch: Path) -> Path:
    """Return a scaler that can be read; a pickle is converted, where it is trusted."""
    from ..scalers.plain_scaler import convert_scaler

    pickles = (".pkl", ".pickle", ".joblib")
    if scaler is None:
        found = [path for path in sorted(Path(place).glob("*")) if path.suffix in pickles]
        if len(found) != 1:
            listed = ", ".join(path.name for path in found) or "none"
            raise InputError(f"{place}: pickled scalers: {listed}; name one with --scaler FILE")
        scaler = found[0]
    if scaler.suffix not in pickles:
        return scaler
    convert_scaler(scaler, scratch / "scaler.safetensors", trust=trust)
    return scratch / "scaler.safetensors"


@click.command("convert-scaler", cls=Command)
@click.argument("file", type=PATH)
@click.option(
    "--i-trust-this-file",
    "trust",
    is_flag=True,
    help="Confirm that you know where FILE comes from; required.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="File to write.  [default: scaler.safetensors next to FILE]",
)
def convert_scaler_command(file: Path, trust: bool, output: Path | None) -> None:
    """Convert a pickled StandardScaler (FILE.pkl) to safetensors, once.

    A pickle is a program. FILE is read by an isolated process with limits on memory, time and
    files, which accepts StandardScaler, ndarray and dtype only. No other command of affekt opens a
    pickle.
    """
    from ..scalers.plain_scaler import convert_scaler, is_scaler

    target = output or file.with_name("scaler.safetensors")
    check_output("-o", target, [file], is_scaler)
    scaler = convert_scaler(file, target, trust=trust)
    click.echo(f"{target}: {scaler.width} features, from sha256 {scaler.source[:16]}")
