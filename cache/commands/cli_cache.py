"""`affekt cache`: inspect, check and copy a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..errors import counted, in_shell, nearest_beside
from .command import Group
from .terminal import JSON, ROOT, aligned, print_json, read_clips


class _ExistingPath(click.Path):
    """A path that is there; where it is not, the message has the nearest name."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not Path(value).exists() and (hint := nearest_beside(Path(value))):
            self.fail(f"Path {value!r} does not exist.{hint}", param, ctx)
        return super().convert(value, param, ctx)


class _CachePath(_ExistingPath):
    """A path that is there, or an address of a packed cache."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if "://" in value and not value.startswith("file://"):
            return value
        return super().convert(value.removeprefix("file://"), param, ctx)


FOLDER = click.argument("folder", type=_CachePath(exists=True), metavar="DIR")


@click.group(cls=Group)
def cache() -> None:
    """Inspect, check, copy and export a cache."""


@cache.command("ls")
@FOLDER
@JSON
def list_spaces(folder: str, as_json: bool) -> None:
    """List the spaces of a cache: rows, layers, dim, bytes."""
    opened = _opened(folder, readonly=True)
    rows = [space.summary() for space in opened.spaces()]
    broken = opened.broken()
    if as_json:
        print_json({"spaces": rows, "broken": broken}, indent=2)
        return
    names = ("name", "rows", "layers", "dim", "dtype", "shards", "bytes", "failures")
    cells = [[str(row[name]) for name in names] for row in rows]
    click.echo("\n".join(aligned([names, *cells], left=1)))
    for why in broken.values():
        click.echo(why, err=True)


@cache.command()
@FOLDER
@click.argument("space", required=False)
@JSON
def show(folder: str, space: str | None, as_json: bool) -> None:
    """Show how a space was computed: spec, library versions, and clips that failed."""
    opened = _opened(folder, readonly=True)
    spaces = [opened.space(space)] if space else opened.spaces()
    shown = [
        found.summary() | {"key": found.key, "spec": found.spec.fields, "made": found.provenance()}
        for found in spaces
    ]
    if as_json:
        print_json(shown, indent=2)
        return
    for item in shown:
        click.echo(
            f"{item['name']}: {counted(item['rows'], 'row')}, {item['layers']} x {item['dim']}"
        )
        for part in ("spec", "made"):
            click.echo(_indented(item[part]))


@cache.command()
@FOLDER
@click.option(
    "--quick", is_flag=True, help="Trust shards that have not changed since the last check."
)
@JSON
def verify(folder: str, quick: bool, as_json: bool) -> None:
    """Check every byte of a cache. Exit code 1 if something is damaged or cannot be read."""
    from ..care import verify

    opened = _opened(folder)
    with _bar("verify", "shards") as progress:
        report = verify(opened, quick=quick, progress=progress)
    if as_json:
        print_json(report.as_dict(), indent=2)
    else:
        for finding in report.findings:
            damaged = "damaged" if finding.aside else "not checked"
            word = damaged if finding.damage else "note"
            click.echo(f"{word}: {finding.path}: {finding.problem}")
        trusted = f", {report.trusted} of them trusted without reading" if quick else ""
        click.echo(
            f"{counted(report.rows, 'row')} in {counted(report.shards, 'shard')}, "
            f"{report.nbytes} bytes{trusted}: {report.state}"
        )
    if not report.ok:
        remedy = f"set the damaged files aside: affekt cache repair {in_shell(folder)}"
        if opened.packed:
            command = f"affekt cache pack DIR {in_shell(folder)} --overwrite"
            remedy = f"pack it again from its folder: {command}"
        if any(finding.aside for finding in report.damage):
            click.echo(remedy, err=True)
        raise SystemExit(1)


@cache.command()
@FOLDER
@JSON
def repair(folder: str, as_json: bool) -> None:
    """Set damaged files aside; the next extract computes their rows again. Nothing is deleted."""
    from ..care import repair
    from ..errors import listed

    with _bar("verify", "shards") as progress:
        done = repair(_opened(folder), progress)
    if as_json:
        print_json(vars(done), indent=2)
    else:
        for verb, paths in (("moved to quarantine/", done.moved), ("rebuilt", done.rebuilt)):
            for path in paths:
                click.echo(f"{verb}: {path}")
        if done.removed:
            click.echo(f"removed {counted(len(done.removed), 'unfinished file')}")
        if done.ids:
            click.echo(f"{counted(len(done.ids), 'row')} to extract again: {listed(done.ids)}")
            click.echo(
                f"compute them: affekt extract MANIFEST --cache {in_shell(folder)} --encoder NAME",
                err=True,
            )
        if not (done.moved or done.rebuilt or done.hopeless):
            click.echo("no damage")
    for problem in done.hopeless:
        click.echo(problem, err=True)
    if done.hopeless:
        raise SystemExit(1)


@cache.command()
@FOLDER
@click.argument("spaces", nargs=-1, metavar="[SPACE]...")
def compact(folder: str, spaces: tuple[str, ...]) -> None:
    """Merge small shards into large ones, while others may read and write."""
    opened = _opened(folder)
    for space in [opened.space(name) for name in spaces] or opened.spaces():
        with _bar(space.name, "merges") as progress:
            before, after = space.compact(progress)
        click.echo(f"{space.name}: {counted(before, 'shard')} before, {after} after")


@cache.command()
@FOLDER
@click.argument("out", type=click.Path())
@click.option(
    "--manifest", type=click.Path(), help="Pack only these clips, in this order, with their labels."
)
@ROOT
@click.option(
    "--space", "spaces", multiple=True, help="Space to pack (repeatable).  [default: all]"
)
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def pack(
    folder: str,
    out: str,
    manifest: str | None,
    root: Path | None,
    spaces: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Write a cache as one HDF5 file, OUT, that h5py, R and MATLAB can read."""
    from ..care import pack

    clips = read_clips(manifest, root) if manifest else None
    with _bar("pack", "rows") as progress:
        path = pack(
            _opened(folder), out, clips, spaces or None, overwrite=overwrite, progress=progress
        )
    click.echo(f"{out}: {path.stat().st_size} bytes")


@cache.command("export")
@FOLDER
@click.argument("space")
@click.argument("out", type=click.Path())
@click.option(
    "--manifest", type=click.Path(), required=True, help="Clips to export, in this order."
)
@ROOT
@click.option(
    "--layers", default="all", show_default=True, help="Layers, such as 12, -1 or 0,6,12."
)
def export_(
    folder: str, space: str, out: str, manifest: str, root: Path | None, layers: str
) -> None:
    """Write embeddings as OUT.npz, OUT.csv, or a folder OUT of .npy files."""
    from ..care import export_space
    from ..manifest.selection import without_content

    try:
        chosen = "all" if layers == "all" else [int(layer) for layer in layers.split(",")]
    except ValueError:
        raise click.BadParameter(f"{layers!r}, expected numbers such as 0,6,12, or all") from None
    found, clips = _opened(folder).space(space), read_clips(manifest, root)
    kind, blank = without_content(clips, found.modality)
    if blank:
        click.echo(f"{counted(len(blank), 'clip')} without {kind} left out", err=True)
        absent = set(blank)
        clips = clips.select([id_ for id_ in clips.ids if id_ not in absent])
    click.echo(export_space(found, clips, Path(out), chosen))


@cache.command("import")
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.argument("sources", nargs=-1, required=True, type=_ExistingPath(exists=True))
@click.option(
    "--manifest", type=click.Path(), required=True, help="Clips that the ids of SOURCES refer to."
)
@ROOT
@click.option("--name", required=True, help="Name of the new space.")
@click.option(
    "--modality",
    type=click.Choice(["audio", "text"]),
    help="Modality that was embedded.  [default: audio, if any]",
)
@click.option(
    "--without-audio",
    is_flag=True,
    help="Identify recordings that are not available by id and path.",
)
def import_(
    folder: str,
    sources: tuple[str, ...],
    manifest: str,
    root: Path | None,
    name: str,
    modality: str | None,
    without_audio: bool,
) -> None:
    """Import embeddings of another tool: folders of <id>.npy, .npz, or tables.

    SOURCES make one space together, such as train.npz dev.npz test.npz.
    """
    from ..cache import Cache
    from ..care import import_space

    target = Cache(folder)
    target.check_writable()
    clips = read_clips(manifest, root)
    space, absent = import_space(
        *(target, list(sources), clips, name, modality), without_audio=without_audio
    )
    given = counted(len(clips) - len(absent), "clip")
    click.echo(f"{space.name}: {counted(len(space), 'row')} of {given}")
    if absent:
        click.echo(
            f"no values in {', '.join(sources)} for {counted(len(absent), 'clip')}", err=True
        )


@cache.command()
@click.argument("sources", nargs=-1, required=True, type=_ExistingPath(exists=True))
@click.option("-o", "--out", required=True, type=click.Path(), help="Target cache; it may exist.")
def merge(sources: tuple[str, ...], out: str) -> None:
    """Copy the contents of several caches into another."""
    from ..cache import Cache
    from ..care import merge

    with _bar("merge", "shards") as progress:
        count = merge([_opened(name, readonly=True) for name in sources], Cache(out), progress)
    click.echo(f"{counted(count, 'shard')} copied")


@cache.command()
@click.argument("source", metavar="A")
@click.argument("target", metavar="B")
@JSON
def sync(source: str, target: str, as_json: bool) -> None:
    """Copy what cache A has and B does not to B; run it again to resume.

    A is only read, nothing is removed from B, and each file is checked. One of the two may be a URL
    of fsspec, such as s3://bucket/my.cache (pip install 'affekt[remote]', and the package that
    fsspec names for the storage).
    """
    from ..cache import Cache
    from ..care import sync

    first = source if "://" in source else _opened(source, readonly=True)
    second = target if "://" in target else Cache(target)
    with _bar("sync", "shards") as progress:
        done = sync(first, second, progress)
    if as_json:
        print_json(vars(done), indent=2)
    else:
        click.echo(
            f"{counted(done.copied, 'shard')} copied, {done.bytes / 1e6:.1f} MB; {done.present} "
            "were already there"
        )


def _opened(folder: str, readonly: bool = False):
    """Open a cache that has to be there."""
    import h5py

    from ..cache import Cache
    from ..errors import InputError

    if Path(folder).is_dir() and not Path(folder, "spaces").is_dir():
        raise InputError(f"{folder} is not a cache: it has no folder named spaces")
    if Path(folder).is_file() and not h5py.is_hdf5(folder):
        raise InputError(
            f"{folder} is not a cache: expected a folder, or a file made by affekt cache pack"
        )
    return Cache(folder, readonly=readonly)


def _indented(value, depth: int = 1) -> str:
    if not isinstance(value, dict):
        return f"{'  ' * depth}{value}"
    lines = []
    for name, item in value.items():
        if isinstance(item, dict):
            lines += [f"{'  ' * depth}{name}:", _indented(item, depth + 1)]
        else:
            lines.append(f"{'  ' * depth}{name}: {item}")
    return "\n".join(lines)


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that draws a progress bar on stderr."""
    from tqdm import tqdm

    with tqdm(desc=what, unit=f" {unit}", disable=None) as bar:

        def draw(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield draw
