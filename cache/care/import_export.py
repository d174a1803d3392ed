"""Embeddings for other tools, and embeddings from other tools.

Imported embeddings go into a space whose spec says so: they can never pass for extracted ones.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, counted, listed
from ..files.atomic_writes import draft
from ..identity.clip_index import RACY, seen
from ..identity.content_digests import row_key, segment_digest
from ..identity.spec import FORMAT, Spec, slug
from ..layers import pick_layers
from ..manifest import Clip, Manifest
from .foreign_arrays import Foreign, open_foreign

ALIKE = 1e-3  # relative distance up to which two vectors are one, as of an encoder's canary

if TYPE_CHECKING:
    from ..cache import Cache
    from ..space import Space


def export_space(
    space: Space, clips: Manifest, out: Path, layers: int | Iterable[int] | str = "all"
) -> Path:
    """Write the embeddings of clips for another tool.

    Parameters
    ----------
    space : Space
        Where they are stored.
    clips : Manifest
        Whose, and in which order.
    out : Path
        ``.npz``: arrays ``ids``, ``layers`` and ``embeddings (clips, layers, dim)``. ``.csv``: a
        row for each clip, with columns ``id``, ``layer3_0``, ``layer3_1``... Else a folder with
        ``ids.json``, ``spec.json`` and ``layer3.npy`` ``(clips, dim)`` for each layer.
    layers : int, list of int or "all"
        Which layers.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Cache
    >>> clips = Manifest.from_rows([{"id": "a", "text": "good"}])
    >>> with tempfile.TemporaryDirectory() as name:
    ...     space, _ = import_space(Cache(name), {"a": np.array([0.5, 2])}, clips, "toy")
    ...     print(export_space(space, clips, Path(name, "out.csv")).read_text(), end="")
    id,layer0_0,layer0_1
    a,0.5,2.0
    """
    chosen = pick_layers(layers, space.n_layers)
    if not chosen:
        raise InputError("`layers` is empty, expected at least one layer, or 'all'")
    if os.path.lexists(out):
        raise InputError(f"{out} already exists; choose another name")
    if not out.parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist")
    if out.suffix not in (".npz", ".csv", ""):
        raise InputError(f"{out}: expected .npz, .csv, or the name of a folder")
    with draft(out) as unfinished:
        _write(space, clips, chosen, unfinished, out.suffix)
        unfinished.rename(out)
    return out


def import_space(
    cache: Cache,
    source: Any,
    clips: Manifest,
    name: str,
    modality: str | None = None,
    *,
    without_audio: bool = False,
) -> tuple[Space, list[str]]:
    """Store embeddings that another tool computed.

    Parameters
    ----------
    cache : Cache
        Where they go.
    source : path, DataFrame, mapping of id to ndarray, or a list of these
        A folder of ``<id>.npy``; an ``.npz`` with ``ids`` and ``embeddings``, or with an array for
        each id; a table with a column ``id``, or the column that the manifest has its ids from, and
        a column for each number. An array has the shape ``(dim,)`` or ``(layers, dim)``.
    clips : Manifest
        What the ids mean: rows are found by content, so audio files have to be available, unless
        you import `without_audio`.
    name : str
        What the space is called; its spec says ``imported/<name>``.
    modality : {"audio", "text"}, optional
        What was embedded; default: audio, if the clips have paths.
    without_audio : bool
        Recordings that are not available, and that the cache does not know, are identified by id
        and path. Where they become available later, these embeddings are not found for them.

    Returns
    -------
    space : Space
        The space; importing the same values again stores nothing.
    absent : list of str
        Ids of clips that the source has no values for.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Cache
    >>> clips = Manifest.from_rows([{"id": "a", "text": "good"}, {"id": "b", "text": "bad"}])
    >>> with tempfile.TemporaryDirectory() as name:
    ...     space, absent = import_space(Cache(name), {"a": np.ones(4)}, clips, "theirs")
    ...     space.spec.fields["encoder"]["name"], len(space), absent
    ('imported/theirs', 1, ['b'])
    """
    values, absent = _arrays(source, clips)
    modality = modality or ("audio" if any(clips["path"]) else "text")
    some = clips.select([i for i, id_ in enumerate(clips.ids) if id_ in values])
    statuses = [_status(some.file(i)) if modality == "audio" else None for i in range(len(some))]
    digests = cache.digests(some, modality)
    if without_audio and modality == "audio":
        digests = [one or _name_digest(some.clip(i)) for i, one in enumerate(digests)]
    unknown = [id_ for id_, digest in zip(some.ids, digests, strict=True) if digest is None]
    if unknown:
        do = (
            "run the import where the files are, or if they cannot be had, set `without_audio=True`"
        )
        if modality == "text":
            other = any(clips["path"]) and " Were the recordings embedded? Then `modality='audio'`"
            do = f"fill in the column text, or leave their vectors out.{other or ''}"
        raise InputError(
            f"the {modality} of {counted(len(unknown), 'clip')} is not available: "
            f"{listed(unknown)}; rows are looked up by content, so {do}"
        )
    known = {id_: digest for id_, digest in zip(some.ids, digests, strict=True) if digest}
    _share_rows(known, values, modality)
    space = cache.create(_imported(values, name, modality), name)
    _store(space, known, values)
    if modality == "audio":
        cache.record(
            seen(some, i, known[id_], status)
            for i, (id_, status) in enumerate(zip(some.ids, statuses, strict=True))
        )
    return space, absent


def _name_digest(clip: Clip) -> str | None:
    """Return what stands for the content of a recording that nobody here has; None without a path.

    No bytes are hashed, so it never equals the digest of a file.
    """
    if not clip.path:
        return None
    place = segment_digest(clip.path, clip.start, clip.end)
    return hashlib.sha256(f"not available\0{clip.id}\0{place}".encode()).hexdigest()


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a file that will be read now; None where it cannot show a later change.

    It is taken before the file is read. A file so young that it may change again within its time
    stamp has none.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    settled = status.st_mtime_ns + RACY < time.time_ns()
    readable = stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK)
    return status if settled and readable else None


def _share_rows(digests: Mapping[str, str], values: dict[str, np.ndarray], modality: str) -> None:
    """Give clips of one content, which share a row, the values of the first, if theirs are alike.

    Batches and padding move the last digits of an encoder.
    """
    first: dict[str, str] = {}
    for id_, digest in digests.items():
        other = first.setdefault(digest, id_)
        mine, theirs = values[id_].astype(float), values[other].astype(float)
        if mine.shape == theirs.shape:
            if np.linalg.norm(mine - theirs) > ALIKE * np.linalg.norm(theirs):
                raise InputError(
                    f"clips {other!r} and {id_!r} have the same {modality} but different values in"
                    " the source; rows are looked up by content, so give both the same values, or "
                    "leave one of them out"
                )
            values[id_] = values[other]


def _store(space: Space, digests: Mapping[str, str], values: Mapping[str, np.ndarray]) -> None:
    """Store the rows that are not there; those that are must have the same values.

    The space is of these ids and values; only the manifest may say otherwise what the ids mean.
    """
    rows = {row_key(space.key, space.modality, digest): id_ for id_, digest in digests.items()}
    stored, missing = space.read(list(rows), range(space.n_layers))
    absent = set(missing.tolist())
    for i, id_ in enumerate(rows.values()):
        if i not in absent and not np.array_equal(stored[i], values[id_]):
            raise InputError(
                f"clip {id_!r}: its {space.modality} was imported into {space.name} before, with "
                "different values; is this the manifest of that import? To keep both, import "
                "under another name"
            )
    with space.writer() as writer:
        for i, (key, id_) in enumerate(rows.items()):
            if i in absent:
                writer.add(key, id_, values[id_])


def _imported(values: Mapping[str, np.ndarray], name: str, modality: str) -> Spec:
    """Return the spec of imported values; the values themselves are part of it."""
    state = hashlib.sha256()
    shapes: dict[tuple[int, ...], str] = {}
    for id_ in sorted(values):
        shapes.setdefault(values[id_].shape, id_)
        state.update(hashlib.sha256(id_.encode("utf-8", "surrogatepass")).digest())
        state.update(hashlib.sha256(values[id_].tobytes()).digest())
    if len(shapes) != 1:
        found = [f"{shape} of clip {id_!r}" for shape, id_ in shapes.items()]
        raise InputError(f"arrays of different shapes (layers, dim): {listed(found)}")
    [(layers, dim)] = shapes
    return Spec(
        {
            "format": FORMAT,
            "modality": modality,
            "encoder": {
                "name": f"imported/{slug(name)}",
                "imported": True,
                "sha256": state.hexdigest(),
            },
            "layers": {"semantics": "imported", "count": layers, "dim": dim},
            "pooling": "",
            "store_dtype": "float32",
            "numerics_epoch": 0,
        }
    )


def _arrays(source: Any, clips: Manifest) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the array ``(layers, dim) float32`` of each clip, and the ids without one."""
    columns = clips.taken.get("id") or clips.taken.get("path", ())
    several = source if isinstance(source, list | tuple) else [source]
    found = [open_foreign(one, columns) for one in several]
    values = {}
    for id_ in clips.ids:
        array = _the_one(id_, found)
        if array is None:
            continue
        if array.ndim not in (1, 2) or array.dtype.kind not in "fiu" or not array.size:
            raise InputError(
                f"clip {id_!r}: an array {array.shape} of {array.dtype}, expected numbers of shape"
                " (dim,) or (layers, dim)"
            )
        with np.errstate(over="ignore"):  # reported below
            values[id_] = np.atleast_2d(np.ascontiguousarray(array, dtype=np.float32))
        if not np.isfinite(values[id_]).all():
            raise InputError(
                f"clip {id_!r}: NaN, infinity or a number beyond float32 among its values; "
                "correct them, or leave the clip out of the source"
            )
    absent = [id_ for id_ in clips.ids if id_ not in values]
    if not values:
        theirs = "; ".join(f"those of {one.name} are {listed(one.ids(), 3)}" for one in found)
        raise InputError(
            f"no clip has values: the manifest's ids are {listed(clips.ids, 3)}; {theirs}. They "
            "must be the same: as the names of the arrays, as an array ids next to an array "
            "embeddings, or as a column id"
        )
    return values, absent


def _the_one(id_: str, sources: Sequence[Foreign]) -> np.ndarray | None:
    """Return the array of an id; None if no source has it."""
    found = {one.name: array for one in sources if (array := one.find(id_)) is not None}
    if len(found) > 1:
        raise InputError(f"clip {id_!r} is in {' and in '.join(found)}; keep only one")
    return next(iter(found.values()), None)


def _write(space: Space, clips: Manifest, layers: tuple[int, ...], path: Path, suffix: str) -> None:
    if suffix == ".npz":
        values = space.read_clips(clips, layers)
        with path.open("wb") as stream:  # given a name, numpy would add .npz to it
            np.savez(stream, ids=np.array(clips.ids), layers=np.array(layers), embeddings=values)
    elif suffix == ".csv":
        _write_csv(space, clips, layers, path)
    else:
        path.mkdir()
        (path / "ids.json").write_text(json.dumps(clips.ids, ensure_ascii=False), encoding="utf-8")
        (path / "spec.json").write_text(space.spec.json(), encoding="utf-8")
        for layer in layers:
            np.save(path / f"layer{layer}.npy", space.read_clips(clips, [layer])[:, 0])


def _write_csv(space: Space, clips: Manifest, layers: tuple[int, ...], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        names = [f"layer{layer}_{i}" for layer in layers for i in range(space.dim)]
        writer.writerow(["id", *names])
        for start in range(0, len(clips), 1000):
            some = clips.select(range(start, min(start + 1000, len(clips))))
            values = space.read_clips(some, layers).reshape(len(some), -1)
            for id_, row in zip(some.ids, values, strict=True):
                writer.writerow([id_, *(str(value) for value in row)])
