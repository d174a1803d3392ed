"""`affekt extract`: embed what a manifest holds and a cache does not."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ...cache.commands.command import Command
from ...cache.commands.terminal import JSON, ROOT, choice, print_result, read_clips
from ...cache.errors import InputError, counted, listed, one_line
from ..encoders.hardware.device import DEVICE, DTYPE
from ..errors import Unusable

if TYPE_CHECKING:
    from ...cache.cache import Cache
    from ...cache.manifest import Manifest
    from ..encoder import Encoder
    from .extraction import Extraction
    from .plan import Plan

_SHOWN = 1000  # quarantined clips that are listed; all of them are in --json and in the cache

MOST_WORKERS = 100_000

DAMAGE = choice(
    "--damage",
    ["refuse", "accept"],
    "Policy for audio with more than 50 ms and 1 % missing or unreadable.",
)


def _part(context: click.Context, option: click.Parameter, value: str) -> tuple[int, int]:
    from .parts import read_part

    try:
        return read_part(value)
    except InputError as error:
        raise click.BadParameter(str(error)) from None


def _layers(context: click.Context, option: click.Parameter, value: str) -> str:
    if value != "all":
        raise click.BadParameter(
            f"{value!r}; expected all: every layer is stored. Choose layers later (affekt train "
            "--layers)"
        )
    return value


@click.command(cls=Command)
@click.argument("manifest", type=click.Path())
@click.option("--cache", "-c", required=True, type=click.Path(), help="Cache folder.")
@click.option(
    "--encoder",
    "-e",
    required=True,
    metavar="NAME",
    help="Encoder: spectral, ngram, a folder or a Hub id.",
)
@click.option(
    "--modality",
    type=click.Choice(["audio", "text"]),
    help="Modality, for a model that could be either.",
)
@click.option("--revision", help="Commit, tag or branch on the Hub.")
@click.option(
    "--layers",
    default="all",
    callback=_layers,
    expose_value=False,
    help="Only all: every layer is stored.",
)
@click.option(
    "--pooling",
    help="Pooling: mean, mean+std, max, cls or last.  [default: that of the model, or mean]",
)
@DEVICE
@DTYPE
@choice("--store-dtype", ["float32", "float16"], "Type of the stored embeddings.")
@choice("--long", ["fail", "truncate", "chunk"], "Policy for audio longer than --max-seconds.")
@click.option(
    "--max-seconds",
    type=float,
    default=60.0,
    show_default=True,
    help="Longest audio to embed whole.",
)
@click.option(
    "--min-seconds", type=float, default=0.1, show_default=True, help="Shortest audio to embed."
)
@choice("--silence", ["keep", "refuse"], "Policy for clips below -80 dBFS.")
@DAMAGE
@click.option(
    "--classifier", is_flag=True, help="Store the class probabilities of a fine-tuned model."
)
@click.option(
    "--no-special-tokens",
    "special_tokens",
    flag_value=False,
    default=True,
    help="Text: leave special tokens out of the pooling.",
)
@click.option("--prefix", help="Text: prefix to put before each text.")
@click.option("--normalise", is_flag=True, help="Scale every vector to length 1.")
@click.option("--max-length", type=int, help="Text: truncate to this many tokens.")
@click.option(
    "--allow-extra",
    multiple=True,
    metavar="NAME",
    help="Tensors of the checkpoint to ignore, such as 'age.*' (repeatable).",
)
@click.option(
    "--part",
    default="1/1",
    callback=_part,
    metavar="I/N",
    help="Do part I of N only; slurm: the part of this job.",
)
@choice("--engine", ["local", "ray"], "Where the workers run.")
@click.option("--workers", type=int, help="Number of processes, each with its own encoder.")
@click.option(
    "--address", help="Ray: address of the cluster, or auto.  [default: start one on this machine]"
)
@click.option(
    "--gpus-per-worker",
    type=float,
    help="Ray: GPUs for each worker, such as 0.5.  [default: 1 if there is a GPU]",
)
@ROOT
@click.option("--allow-outside", is_flag=True, help="Allow paths outside of --root.")
@click.option("--rehash", is_flag=True, help="Read every file again, even if it has not changed.")
@click.option("--dry-run", is_flag=True, help="Print what there is to do, without doing it.")
@click.option(
    "--plan",
    "spread_over",
    type=int,
    metavar="N",
    help="Print what each of N workers would do, without doing it.",
)
@JSON
def extract(manifest: str, **options: Any) -> int:
    """Embed the clips of MANIFEST that the cache does not hold.

    Each clip is read once and stored with every layer; what is stored is skipped, so a second
    call, or one after a crash, does only what is left. A clip that cannot be embedded is named
    with its reason, and the exit code is 3.
    """
    from ...cache.cache import Cache
    from ..encoder import Encoder
    from .embedding import run_extraction
    from .plan import plan

    cache = Cache(options["cache"])
    planned_only = options["dry_run"] or options["spread_over"] is not None
    cache.check_writable(by_writing=not planned_only and not cache.spaces())
    clips = read_clips(manifest, options["root"], allow_outside=options["allow_outside"] or None)
    encoder = Encoder(options["encoder"], **_encoder_options(options))
    _check_content(clips, encoder.modality)
    common = {name: options[name] for name in ("part", "store_dtype", "rehash")}
    if options["spread_over"] is not None:
        _spread(clips, cache, encoder, common, options)
        return 0
    if options["dry_run"]:
        planned = plan(clips, cache, encoder, **common, measure=True)
        print_result(planned.as_dict(), _planned(planned), options["as_json"])
        return 0
    names = ("engine", "workers", "address", "gpus_per_worker")
    how = {name: options[name] for name in names}
    done = run_extraction(clips, cache, encoder, **common, **how, progress=True)
    places = {id_: clips.place(i) for i, id_ in enumerate(clips.ids)} if done.failures else {}
    print_result(done.as_dict(), _summary(done), options["as_json"])
    for failure in done.failures[:_SHOWN]:
        where = places[failure.id]
        said = f"{failure.code}: {Unusable(failure.code, failure.message)}"
        click.echo(f"{where}: {one_line(failure.id)}: {said}", err=True)
    if len(done.failures) > _SHOWN:
        click.echo(f"... and {len(done.failures) - _SHOWN} more", err=True)
    return done.exit_code


def _spread(
    clips: Manifest, cache: Cache, encoder: Encoder, common: dict[str, Any], options: dict[str, Any]
) -> None:
    """Print what each of some workers would have to do."""
    from .plan import plan
    from .spread import spread, spread_table

    if common["part"] != (1, 1):
        raise click.UsageError("--plan shows every part; leave --part out")
    if not 1 <= options["spread_over"] <= MOST_WORKERS:
        raise click.BadParameter(
            f"{options['spread_over']}, expected 1 or more, at most {MOST_WORKERS}",
            param_hint="--plan",
        )
    planned = plan(clips, cache, encoder, **common, measure=True)
    spec = encoder.spec.with_store_dtype(options["store_dtype"])
    shares = spread(clips, planned, spec, options["spread_over"])
    result = {**planned.as_dict(), "parts": [asdict(share) for share in shares]}
    print_result(result, spread_table(planned, shares), options["as_json"])


def _check_content(clips: Manifest, modality: str) -> None:
    """Refuse a table in which no clip has what the encoder reads, such as for a misspelt column."""
    from ...cache.manifest.selection import content_column

    column = content_column(modality)
    try:
        values = clips.column(column)
    except InputError as error:
        error.add_note(f"the encoder takes {modality}")
        raise
    if not any(values):
        raise InputError(
            f"{clips.source}: every {column} is blank, and the encoder needs {modality}"
        )


def _encoder_options(options: dict[str, Any]) -> dict[str, Any]:
    names = (
        *("modality", "revision", "pooling", "dtype", "device"),
        *("long", "max_seconds", "min_seconds", "silence", "damage"),
    )
    usual = {
        "classifier": False, "normalise": False, "special_tokens": True, "allow_extra": (),
        "prefix": None, "max_length": None,
    }  # fmt: skip
    given = [name for name, value in usual.items() if options[name] != value]
    return {name: options[name] for name in (*names, *given)}


def _planned(planned: Plan) -> str:
    from .progress import human_time

    lines = [
        f"{counted(planned.clips, 'clip')}: {planned.hits} stored, {planned.misses} to compute"
    ]
    if planned.unknown:
        lines.append(
            f"  {planned.unknown} of them were not read yet, or have changed: they may be stored"
        )
    if planned.without:
        lines.append(f"  nothing for this encoder: {counted(planned.without, 'clip')}")
    if planned.refused:
        lines.append(
            f"  {planned.refused} will be refused: too large, or sparse; extract names them"
        )
    lines.append(f"  {planned.bytes / 1e6:.1f} MB to read")
    if planned.audio_seconds:
        lines.append(
            f"  about {human_time(planned.audio_seconds)} of audio, estimated from file sizes"
        )
    if planned.seconds is not None:
        lines.append(f"  about {human_time(planned.seconds)} on this machine")
    return "\n".join(lines)


def _summary(done: Extraction) -> str:
    from .progress import human_time

    lines = [
        f"{done.space.name}: {counted(done.clips, 'clip')}, {done.hits} were stored,"
        f" {done.computed} computed in {human_time(done.seconds)}"
    ]
    if done.repeated:
        lines.append(f"  {done.repeated} have the same content as another clip and share its row")
    if done.without:
        missing = "audio" if done.space.modality == "audio" else "text"
        lines.append(f"  {done.without} have no {missing}")
    for flag, ids in sorted(done.flags.items()):
        lines.append(f"  {len(ids)} {flag}: {listed(ids, 3)}")
    if done.failures:
        codes: dict[str, int] = {}
        for failure in done.failures:
            codes[failure.code] = codes.get(failure.code, 0) + 1
        counts = ", ".join(f"{count} {code}" for code, count in sorted(codes.items()))
        lines.append(f"  {len(done.failures)} quarantined: {counts}")
    return "\n".join(lines + [f"  note: {note}" for note in done.notes])
