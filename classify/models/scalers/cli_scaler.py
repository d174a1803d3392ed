"""The command `affekt convert-scaler`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("convert-scaler")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--i-trust-this-file",
    "trust",
    is_flag=True,
    help="You know where FILE comes from. Without this, nothing is opened.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write  [default: scaler.safetensors next to FILE]",
)
def convert_scaler_command(file: Path, trust: bool, output: Path | None) -> None:
    """Convert a pickled StandardScaler (FILE.pkl) to safetensors, once.

    A pickle is a program. FILE is read by an isolated process with limits on memory, time and
    files, which accepts StandardScaler, ndarray and dtype only. No other command of affekt opens a
    pickle.
    """
    from ....cache.files.outputs import check_output
    from .plain_scaler import convert_scaler, is_scaler

    target = output or file.with_name("scaler.safetensors")
    check_output("-o", target, [file], is_scaler)
    scaler = convert_scaler(file, target, trust=trust)
    click.echo(f"{target}: {scaler.width} features, from sha256 {scaler.source[:16]}")
