"""The command `affekt doctor`: checks of what is installed, of the machine, and of caches."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import click

from affekt.machine import memory, processors
from affekt.versions import version_of

from ..errors import AffektError, InputError, in_shell, listed
from ..files.output_checks import check_takes_files
from .command import Command
from .terminal import JSON, PATH, print_json

MARKS = {"ok": "ok", "note": "note", "wrong": "WRONG"}


@click.command(cls=Command)
@click.argument("places", nargs=-1, metavar="[CACHE]...", type=PATH)
@JSON
@click.pass_context
def doctor(ctx: click.Context, places: tuple[Path, ...], as_json: bool) -> None:
    """Check versions, memory, disk, accelerator, and caches.

    Each CACHE is checked as by `affekt cache verify --quick`; by default those of the working
    folder. Nothing is changed. Exit code 1 means that something must be fixed; what is missing
    for a command that you may not need is a note.
    """
    for place in places:
        if not place.exists():
            raise InputError(f"{place}: no such cache; expected a folder, or a packed file")
        if place.is_dir() and not caches_of(place):
            raise InputError(f"{place}: neither a cache nor a folder that contains one")
    stored = [one for place in places or (Path(),) for one in caches_of(place)]
    models = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    folders = [Path(), *stored, models, Path(tempfile.gettempdir())]
    found = [*versions(), *machine(), *disks(folders), *commands(), *caches(stored)]
    wrong = sum(one.state == "wrong" for one in found)
    notes = sum(one.state == "note" for one in found)
    if as_json:
        print_json({"wrong": wrong, "findings": [vars(one) for one in found]})
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


GIB = 2**30
LITTLE_MEMORY = 4 * GIB  # below which a large encoder does not fit
LITTLE_DISK = GIB
FULL = 100 * 2**20  # below which nothing can be stored
LINKED = ("h5py", "soundfile", "av", "soxr")  # to system libraries; torch is tried separately
#: extra -> what needs it
NEEDED_FOR = {
    "table": "tables: Parquet files, to_frame() of results",
    "xlsx": "tables: Excel files",
    "ray": "extract --engine ray",
    "search": "hyper-parameter search: optuna",
    "asr": "transcribe --engine faster-whisper",
    "serve": "serve",
    "remote": "cache sync: caches in object storage",
}


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    part : str
        ``"versions"``, ``"machine"``, ``"disk"``, ``"commands"`` or ``"cache"``.
    state : str
        ``"ok"``; ``"note"``, something does not work that not everybody needs; ``"wrong"``,
        something has to be mended.
    found : str
        What is there, and what to do about it.
    """

    part: str
    name: str
    state: str
    found: str


def versions() -> Iterator[Finding]:
    """Yield the versions of affekt, of Python, and of every package that affekt needs."""
    yield Finding("versions", "affekt", "ok", version_of("affekt"))
    yield Finding("versions", "Python", "ok", f"{platform.python_version()} ({sys.executable})")
    for name, least in _needed()[""].items():
        version = version_of(name)
        if not version:
            wrong = f"not installed; pip install '{name}{least and '>=' + least}'"
        elif least and _numbers(version) < _numbers(least):
            wrong = f"{version}, and affekt needs {least} or later; pip install -U {name}"
        elif wrong := _import_problem(name):
            wrong = f"{version} {wrong}; install it again"
        yield Finding("versions", name, "wrong" if wrong else "ok", wrong or version)


def machine() -> Iterator[Finding]:
    """Yield processors, memory, and the accelerator that torch finds."""
    system = f"{platform.system()} {platform.machine()}"
    yield Finding("machine", "processors", "ok", f"{processors()} of {os.cpu_count()}, {system}")
    total, free = memory()
    if total:
        shown = f"{total / GIB:.1f} GiB, {free / GIB:.1f} GiB free"
        little = free < LITTLE_MEMORY
        advice = f"{shown}: large encoders do not fit; use smaller batches or a small encoder"
        yield Finding("machine", "memory", "note" if little else "ok", advice if little else shown)
    yield _accelerator()


def disks(places: Iterable[Path]) -> Iterator[Finding]:
    """Yield the free space of folders, each file system once, and whether one can write there."""
    seen = set()
    for place in places:
        above = (place, *place.absolute().parents)
        there = next(one for one in above if os.access(one, os.F_OK))  # the nearest folder
        device = there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        yield Finding("disk", str(there), *_room(there))


def _room(folder: Path) -> tuple[str, str]:
    """Return the state of a folder's disk, and what was found."""
    free = shutil.disk_usage(folder).free
    shown = f"{free / GIB:.1f} GiB free"
    if free < FULL:
        return "wrong", f"{shown}: nothing can be stored; free some space"
    try:
        check_takes_files("folder", folder)
    except InputError as error:
        return "note", str(error)
    return ("note", f"{shown}: a large cache does not fit") if free < LITTLE_DISK else ("ok", shown)


def commands() -> Iterator[Finding]:
    """Yield what is missing for which command."""
    needed = _needed()
    for extra, what in NEEDED_FOR.items():
        packages = list(needed.get(extra, ()))
        if absent := [name for name in packages if not version_of(name)]:
            remedy = f"{listed(absent)} not installed; pip install 'affekt[{extra}]'"
            yield Finding("commands", what, "note", remedy)
        else:
            yield Finding("commands", what, "ok", listed(packages))
    program = shutil.which("ffmpeg")
    yield Finding(
        "commands",
        "formats that neither libsndfile nor PyAV reads",
        "ok" if program else "note",
        program or "the program ffmpeg is not installed; install it if a recording cannot be read",
    )


def caches(places: Iterable[Path]) -> Iterator[Finding]:
    """Yield the health of caches; shards that have not changed since the last check are trusted."""
    from ..cache import Cache
    from ..care import verify

    for place in places:
        try:
            report = verify(Cache(place), quick=True)
        except (AffektError, OSError) as error:
            yield Finding("cache", str(place), "wrong", str(error))
            continue
        size = f"{report.rows} rows, {report.nbytes / 2**20:.1f} MiB"
        if report.ok:
            yield Finding("cache", str(place), "ok", f"{size}, no damage")
        else:
            first = max(report.damage, key=lambda one: one.aside)
            damage = f"{report.state}, such as {first.path}: {first.problem}"
            remedy = f"affekt cache verify {in_shell(place)} lists all"
            if first.aside:
                remedy += ", affekt cache repair sets them aside"
            yield Finding("cache", str(place), "wrong", f"{size}, {damage}; {remedy}")


def caches_of(folder: Path) -> list[Path]:
    """Return the caches in a folder, or the folder itself if it is one.

    Raises
    ------
    OSError
        The folder cannot be read.
    """
    if folder.is_file() or (folder / "spaces").is_dir():
        return [folder]
    return sorted(one for one in folder.iterdir() if (one / "spaces").is_dir())


#: what a process of its own prints: a damaged installation may end it without an exception
ACCELERATOR = """
import torch
if torch.cuda.is_available():
    free, total = torch.cuda.mem_get_info()
    shown = f"{total / 2**30:.0f} GiB, {free / 2**30:.0f} GiB free"
    print(f"cuda: {torch.cuda.get_device_name()}, {shown}")
elif torch.backends.mps.is_available():
    print("mps")
else:
    print("none:", "" if torch.version.cuda else "built without")
"""


def _accelerator() -> Finding:
    done = subprocess.run(
        [sys.executable, "-P", "-c", ACCELERATOR], capture_output=True, text=True, check=False
    )
    said = done.stdout.strip()
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        problem = f"torch cannot be used: {why}; install it again"
        return Finding("machine", "accelerator", "wrong", problem)
    if said.startswith("none:"):
        built = " (torch is built for CPUs only)" if "built" in said else ""
        return Finding("machine", "accelerator", "ok", f"none{built}: encoders run on the CPU")
    return Finding("machine", "accelerator", "ok", said)


def _needed() -> dict[str, dict[str, str]]:
    """Return extra (blank: of affekt in any case) -> package -> least version."""
    found: dict[str, dict[str, str]] = {"": {}}
    for line in metadata.requires("affekt") or ():
        needed, _, marker = line.partition(";")
        extra = re.search(r"extra\s*==\s*[\"']([^\"']+)", marker)
        name, least = _parsed(needed)
        found.setdefault(extra[1] if extra else "", {})[name] = least
    return found


def _parsed(requirement: str) -> tuple[str, str]:
    match = re.match(r"\s*([\w.-]+)(?:\[[^]]*\])?.*?(?:>=\s*([\d.]+))?\s*(?:,|$)", requirement)
    return (match[1], match[2] or "") if match else (requirement.strip(), "")


def _import_problem(name: str) -> str:
    """Return why a package that needs a system library cannot be imported; blank if it can."""
    if name not in LINKED:
        return ""
    try:
        importlib.import_module(name)
    except Exception as error:  # a library that is missing or of another version
        return f"cannot be imported: {type(error).__name__}: {error}"
    return ""


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3]]
