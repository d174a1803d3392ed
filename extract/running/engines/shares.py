"""A share of an extraction as plain values, so that another process can do it.

A share is columns of values, not a row of names for each clip, and is made when it is handed out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....cache.cache import Cache
from ....cache.errors import AffektError, CanaryError, InputError
from ....cache.manifest import Manifest
from ....cache.manifest.columns import TIMES
from ....cache.manifest.paths import Folder
from ....cache.manifest.selection import content_column
from ....cache.space import Space
from ...encoder import Encoder
from ...encoder_names import is_code
from ..extraction import Extraction, Failure
from ..parts import group_numbers

#: what a process has to know of a clip: where it is, and what the index of clips notes of it
_COLUMNS = ("id", "path", "start", "end", "text", "speaker")


def make_job(clips: Manifest, encoder: Encoder, space: Space) -> dict[str, Any]:
    """Return what all shares have in common, as JSON values; paths are absolute."""
    arguments = dict(encoder.arguments or {})
    name = str(arguments.get("name", ""))
    if not is_code(name) and Path(name).expanduser().is_dir():
        arguments["name"] = str(Path(name).expanduser().absolute())
    return {
        **origin(clips),
        "cache": str(space.cache.path.absolute()),
        "store_dtype": space.spec.store_dtype,
        "spec": space.key,
        "encoder": arguments,
        "threads": 1,
    }


def origin(clips: Manifest) -> dict[str, Any]:
    """Return what `clips_of` has to know of a manifest besides its columns."""
    return {
        "root": str(clips.root.absolute()),
        "allow_outside": clips.allow_outside,
        "source": clips.source,
        "rows_are_lines": clips._rows_are_lines,
    }


def deal(clips: Manifest, positions: np.ndarray, modality: str, count: int) -> list[np.ndarray]:
    """Deal positions out to `count` workers; rows of one file, and equal texts, go to one."""
    numbers = group_numbers(clips[content_column(modality)][positions]) % count
    shares = [positions[numbers == number] for number in range(count)]
    return [share for share in shares if len(share)]


def ranges(
    clips: Manifest, positions: np.ndarray, modality: str, size: int
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Cut positions into shares of about `size`.

    Rows of one file, and equal texts, are neighbours and in one share, unless they are more than
    that.

    Returns
    -------
    order : ndarray of int
        The positions in an order in which a share is a range.
    bounds : list of (int, int)
        First and last plus one of each share in it.
    """
    numbers = group_numbers(clips[content_column(modality)][positions])
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    bounds, start = [], 0
    while start < len(order):
        stop = min(start + size, len(order))
        if stop < len(order):  # back to where a group begins, if one does
            begin = int(np.searchsorted(numbers, numbers[stop]))
            stop = begin if begin > start else stop
        bounds.append((start, stop))
        start = stop
    return positions[order], bounds


def columns(clips: Manifest, positions: np.ndarray) -> dict[str, list[Any]]:
    """Return some clips as columns of JSON values (a blank time is NaN, as Python writes it)."""
    found = {name: clips[name][positions].tolist() for name in _COLUMNS}
    return found | {"line": clips._lines[positions].tolist()}


def clips_of(job: Mapping[str, Any], blocks: Iterable[Mapping[str, list[Any]]]) -> Manifest:
    """Return the clips of some blocks of columns, as `columns` makes them."""
    whole: dict[str, list[Any]] = {name: [] for name in (*_COLUMNS, "line")}
    for block in blocks:
        for name, values in whole.items():
            values += block[name]
    lines = np.array(whole.pop("line"), np.int64)
    made = {
        name: np.array(values, float if name in TIMES else object) for name, values in whole.items()
    }
    return Manifest(
        made,
        folder=Folder(Path(job["root"]), allow_outside=job["allow_outside"]),
        source=job["source"],
        lines=lines,
        rows_are_lines=job["rows_are_lines"],
    )


def open_job(job: Mapping[str, Any]) -> tuple[Encoder, Space]:
    """Open the encoder and the space of a job here."""
    encoder = Encoder(**job["encoder"])
    space = Cache(job["cache"]).create(encoder.spec.with_store_dtype(job["store_dtype"]))
    if space.key != job["spec"]:
        raise InputError(f"{encoder.name} is another encoder here: its files or options differ")
    return encoder, space


def add(done: Extraction, result: Mapping[str, Any]) -> None:
    """Add what a share did to the whole."""
    done.hits += result["hits"]
    done.computed += result["computed"]
    done.repeated += result["repeated"]
    done.audio_seconds += result["audio_seconds"]
    done.failures += [Failure(**one) for one in result["quarantined"]]
    for flag, ids in result["flags"].items():
        done.flags.setdefault(flag, []).extend(ids)


def as_values(error: AffektError | OSError) -> dict[str, Any]:
    """Return an error as JSON values: its class may not unpickle elsewhere."""
    known = isinstance(error, AffektError)
    return {
        "kind": type(error).__name__,
        "message": str(error),
        "exit_code": error.exit_code if known else 1,
        "layers": getattr(error, "layers", []),
        "system": [] if known else [error.errno, error.strerror, error.filename],
    }


def reraise(error: Mapping[str, Any]) -> AffektError | OSError:
    """Make the error that stopped a share into one of this process.

    Examples
    --------
    >>> reraise(as_values(OSError(28, "No space left on device", "my.cache")))
    OSError(28, 'No space left on device')
    """
    if any(error["system"]):
        return OSError(*error["system"])
    if error["kind"] == "CanaryError":
        return CanaryError(error["message"], error["layers"])
    kind = InputError if error["exit_code"] == InputError.exit_code else AffektError
    return kind(error["message"])


def blocks_of(clips: Manifest, positions: np.ndarray, size: int) -> Iterator[dict[str, list[Any]]]:
    """Return clips as columns, `size` at a time."""
    for start in range(0, len(positions), size):
        yield columns(clips, positions[start : start + size])
