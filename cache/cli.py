"""`affekt cache`: look at a cache, check it, and carry it elsewhere."""

from __future__ import annotations

import click

FOLDER = click.argument("folder", type=click.Path(exists=True), metavar="DIR")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def cache() -> None:
    """Look at a cache, check it, and carry it elsewhere."""


@cache.command("ls")
@FOLDER
@JSON
def list_spaces(folder: str, as_json: bool) -> None:
    """List the spaces of a cache: rows, layers, dim, bytes."""
    from .cache import Cache

    opened = Cache(folder, readonly=True)
    rows = [space.summary() for space in opened.spaces()]
    broken = opened.broken()
    if as_json:
        _echo_json({"spaces": rows, "broken": broken})
        return
    names = ("name", "rows", "layers", "dim", "dtype", "shards", "bytes", "failures")
    _echo_table(names, [[row[name] for name in names] for row in rows])
    for why in broken.values():
        click.echo(why, err=True)


@cache.command()
@FOLDER
@click.argument("space", required=False)
@JSON
def show(folder: str, space: str | None, as_json: bool) -> None:
    """Show how a space was computed: its spec, its libraries, what could not be embedded."""
    from .cache import Cache

    opened = Cache(folder, readonly=True)
    spaces = [opened.space(space)] if space else opened.spaces()
    shown = [
        found.summary() | {"key": found.key, "spec": found.spec.fields, "made": found.provenance()}
        for found in spaces
    ]
    if as_json:
        _echo_json(shown)
        return
    for item in shown:
        click.echo(f"{item['name']}: {item['rows']} rows, {item['layers']} x {item['dim']}")
        for part in ("spec", "made"):
            click.echo(_indented(item[part]))


@cache.command()
@FOLDER
@click.option(
    "--quick", is_flag=True, help="Trust shards that have not changed since the last check."
)
@JSON
def verify(folder: str, quick: bool, as_json: bool) -> None:
    """Check every byte of a cache. Exit code 1 if something is damaged."""
    from .cache import Cache

    with _bar("verify", "shards") as progress:
        report = Cache(folder).verify(quick=quick, progress=progress)
    if as_json:
        _echo_json(report.as_dict())
    else:
        for finding in report.findings:
            click.echo(
                f"{'damaged' if finding.damage else 'note'}: {finding.path}: {finding.problem}"
            )
        trusted = f", {report.trusted} of them trusted unread" if quick else ""
        state = "no damage" if report.ok else f"{len(report.damage)} damaged"
        click.echo(
            f"{report.rows} rows in {report.shards} shards, {report.nbytes} bytes{trusted}: {state}"
        )
    if not report.ok:
        click.echo(f"set the damaged files aside: affekt cache repair {folder}", err=True)
        raise SystemExit(1)


def _echo_json(value) -> None:
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _echo_table(names, rows) -> None:
    """Print columns: text to the left, numbers to the right."""
    cells = [[str(name) for name in names], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    for row in cells:
        pairs = zip(row, widths, strict=True)
        text = [
            c.rjust(w) if c.isdigit() or i > 0 else c.ljust(w) for i, (c, w) in enumerate(pairs)
        ]
        click.echo("  ".join(text).rstrip())


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


class _bar:
    """A progress bar on stderr, as a function of (done, total)."""

    def __init__(self, what: str, unit: str):
        self.what, self.unit, self.bar = what, unit, None

    def __enter__(self) -> _bar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc=self.what, unit=f" {self.unit}", disable=None)
        self.bar.update(done - self.bar.n)

    def __exit__(self, *error) -> None:
        if self.bar is not None:
            self.bar.close()
