"""The command `affekt doctor`."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import click

MARKS = {"ok": "ok", "note": "note", "wrong": "WRONG"}


@click.command()
@click.argument("places", nargs=-1, metavar="[CACHE]...", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, places: tuple[Path, ...], as_json: bool) -> None:
    """Check versions, memory, disk, accelerator, and caches.

    Each CACHE is checked as by `affekt cache verify --quick`; by default those of the working
    folder. Nothing is changed. Exit code 1 says that something has to be mended; what is missing
    for a command that you may not need is a note.
    """
    from ..errors import InputError
    from .installation import caches, caches_of, commands, disks, machine, versions

    for place in places:
        if not place.exists():
            raise InputError(f"{place}: no such cache; expected a folder, or a packed file")
        if place.is_dir() and not caches_of(place):
            raise InputError(f"{place}: neither a cache nor a folder that has one in it")
    stored = [one for place in places or (Path(),) for one in caches_of(place)]
    models = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    folders = [Path(), *stored, models, Path(tempfile.gettempdir())]
    found = [*versions(), *machine(), *disks(folders), *commands(), *caches(stored)]
    wrong = sum(one.state == "wrong" for one in found)
    notes = sum(one.state == "note" for one in found)
    if as_json:
        click.echo(json.dumps({"wrong": wrong, "findings": [vars(one) for one in found]}))
        ctx.exit(1 if wrong else 0)
    part = ""
    width = max(len(one.name) for one in found if one.part in ("versions", "machine"))
    for one in found:
        if one.part != part:
            part = one.part
            click.echo(part)
        click.echo(f"  {MARKS[one.state]:<5}  {one.name:<{width}}  {one.found}")
    if not stored:
        click.echo("cache\n  none in this folder: affekt doctor CACHE checks one elsewhere")
    click.echo(f"{wrong} wrong, {notes} notes" if wrong or notes else "everything is there")
    ctx.exit(1 if wrong else 0)
