"""The command `affekt card`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["card"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--system", help="A member or ensemble  [default: the one dev chose]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there.")
def card(run: Path, system: str | None, output: Path | None) -> None:
    """Write a model card for RUN, the folder that `affekt run` left.

    Every number comes from comparison.json. What only you know (sources, consent, licence) is left
    as a question.
    """
    from ....cache.errors import InputError
    from ....cache.files.outputs import check_output
    from ....cache.files.written import write_whole
    from .card import model_card

    if (run / "model.safetensors").is_file():
        raise InputError(
            f"{run} is a model; a card describes a run, with its comparison: name the folder that"
            " `affekt run` left, and the member with --system"
        )
    if output is not None:
        read = [run, *(run / name for name in ("comparison.json", "repeats.json"))]
        check_output("-o", output, read, lambda head: True)
    text = model_card(run, system)
    if output is None:
        click.echo(text, nl=False)
    else:
        check_output("-o", output, ours=text.encode().startswith)
        write_whole(output, text)
        click.echo(f"Card: {output}", err=True)
