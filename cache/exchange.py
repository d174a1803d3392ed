"""Embeddings for other tools, and embeddings from other tools.

What is imported stands in a space whose spec says so: it can never pass for something that affekt
extracted.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .clips import seen
from .digests import row_key
from .errors import InputError, listed
from .features import pick_layers
from .manifest import Manifest
from .spec import FORMAT, Spec, slug
from .tables import SUFFIXES, read_table, table_of_frame

if TYPE_CHECKING:
    from .cache import Cache
    from .space import Space


def export_space(
    space: Space,
    clips: Manifest,
    out: Path,
    layers: int | Iterable[int] | str = "all",
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
    with _beside(out) as beside:
        if out.suffix == ".npz":
            values = space.cache.read(space, clips, chosen)
            np.savez(beside, ids=np.array(clips.ids), layers=np.array(chosen), embeddings=values)
        elif out.suffix == ".csv":
            _write_csv(space, clips, chosen, beside)
        elif out.suffix:
            raise InputError(f"{out}: expected .npz, .csv, or the name of a folder")
        else:
            beside.mkdir()
            (beside / "ids.json").write_text(json.dumps(clips.ids, ensure_ascii=False))
            (beside / "spec.json").write_text(space.spec.json())
            for layer in chosen:
                np.save(beside / f"layer{layer}.npy", space.cache.read(space, clips, layer))
    return out


def import_space(
    cache: Cache, source: Any, clips: Manifest, name: str, modality: str | None = None
) -> tuple[Space, list[str]]:
    """Store embeddings that another tool computed.

    Parameters
    ----------
    cache : Cache
        Where they go.
    source : path, DataFrame, or mapping of id to ndarray
        A folder of ``<id>.npy``; an ``.npz`` with ``ids`` and ``embeddings``, or with an array for
        each id; a table with a column ``id`` and a column for each number. An array has the shape
        ``(dim,)`` or ``(layers, dim)``.
    clips : Manifest
        What the ids mean: rows are found by content, so audio files have to be at hand.
    name : str
        What the space is called; its spec says ``imported/<name>``.
    modality : {"audio", "text"}, optional
        What was embedded; default: audio, if the clips have paths.

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
    digests = cache.digests(clips, modality)
    unknown = [
        id_ for id_, d in zip(clips.ids, digests, strict=True) if d is None and id_ in values
    ]
    if unknown:
        raise InputError(
            f"the {modality} of {len(unknown)} clips is not at hand: {listed(unknown)}; rows are"
            " found by content, so import where the files are"
        )
    space = cache.create(_imported(values, name, modality), name)
    with space.writer() as writer:
        for id_, digest in zip(clips.ids, digests, strict=True):
            if id_ in values and digest is not None:
                key = row_key(space.key, modality, digest)
                if not space.stored([key])[0]:
                    writer.add(key, id_, values[id_])
    if modality == "audio":
        cache.record(
            seen(clips, i, digest, clips.file(i).stat() if clips.file(i).exists() else None)
            for i, digest in enumerate(digests)
            if digest is not None and clips.ids[i] in values
        )
    return space, absent


def _imported(values: Mapping[str, np.ndarray], name: str, modality: str) -> Spec:
    """Return the spec of imported values; the values themselves are part of it."""
    state = hashlib.sha256()
    shapes = set()
    for id_ in sorted(values):
        shapes.add(values[id_].shape)
        state.update(hashlib.sha256(id_.encode("utf-8", "surrogatepass")).digest())
        state.update(hashlib.sha256(values[id_].tobytes()).digest())
    if len(shapes) != 1:
        raise InputError(f"arrays of different shapes: {listed(sorted(map(str, shapes)))}")
    layers, dim = shapes.pop()
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
    found = _open(source)
    values = {}
    for id_ in clips.ids:
        array = found(id_)
        if array is None:
            continue
        if array.ndim not in (1, 2) or array.dtype.kind not in "fiu" or not array.size:
            raise InputError(
                f"clip {id_!r}: an array {array.shape} of {array.dtype}, expected numbers of shape"
                " (dim,) or (layers, dim)"
            )
        with np.errstate(over="ignore"):  # it is told below
            values[id_] = np.atleast_2d(np.ascontiguousarray(array, dtype=np.float32))
        if not np.isfinite(values[id_]).all():
            raise InputError(
                f"clip {id_!r}: NaN, infinity or a number beyond float32 among its values; mend"
                " them, or leave the clip out of the source"
            )
    absent = [id_ for id_ in clips.ids if id_ not in values]
    if not values:
        raise InputError(
            f"no clip has values: the manifest's ids are {listed(clips.ids, 3)}; they must be the"
            " names of the arrays"
        )
    return values, absent


def _open(source: Any) -> Callable[[str], np.ndarray | None]:
    """Return how to find an id's array."""
    if isinstance(source, Mapping):
        return lambda id_: None if id_ not in source else np.asarray(source[id_])
    if hasattr(source, "columns"):
        return _table(table_of_frame(source, "<frame>"))
    path = Path(source)
    if path.is_dir():
        return lambda id_: _npy(path, id_)
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix in SUFFIXES:
        return _table(read_table(path))
    raise InputError(f"{path}: expected a folder of .npy, an .npz, or {', '.join(SUFFIXES)}")


def _npy(folder: Path, id_: str) -> np.ndarray | None:
    path = folder / f"{id_}.npy"
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        return None
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not an array of numbers: {error}") from None


def _npz(path: Path) -> Callable[[str], np.ndarray | None]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not arrays of numbers: {error}") from None
    if arrays.keys() >= {"ids", "embeddings"}:
        ids, values = arrays["ids"].astype(str).tolist(), arrays["embeddings"]
        if len(ids) != len(values):
            raise InputError(f"{path}: {len(ids)} ids for {len(values)} embeddings")
        arrays = dict(zip(ids, values, strict=True))
    return arrays.get


def _table(table: Any) -> Callable[[str], np.ndarray | None]:
    if "id" not in table.columns:
        raise InputError(f"{table.source}: no column id; it has {', '.join(table.columns)}")
    names = [name for name in table.columns if name != "id"]
    try:
        values = np.array([table.columns[name] for name in names], dtype=np.float32).T
    except ValueError as error:
        raise InputError(f"{table.source}: a column is no number: {error}") from None
    return dict(zip(table.columns["id"], values, strict=True)).get


def _write_csv(space: Space, clips: Manifest, layers: tuple[int, ...], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        names = [f"layer{layer}_{i}" for layer in layers for i in range(space.dim)]
        writer.writerow(["id", *names])
        for start in range(0, len(clips), 1000):
            some = clips.select(range(start, min(start + 1000, len(clips))))
            values = space.cache.read(space, some, layers).reshape(len(some), -1)
            for id_, row in zip(some.ids, values, strict=True):
                writer.writerow([id_, *(str(value) for value in row)])


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Give a name beside `out`, which takes its place when all is written."""
    if out.exists():
        raise InputError(f"{out} is there already; choose another name")
    beside = out.with_name(f".{uuid.uuid4().hex[:8]}.{os.getpid()}.{out.name}")
    try:
        yield beside
        beside.rename(out)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside)
        beside.unlink(missing_ok=True)
