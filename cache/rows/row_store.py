"""The rows of one spec: read and stored by key, in a folder of shards or in a packed file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from affekt.notebook import shown

from ..errors import InputError, in_shell, listed
from ..files.durable import flushed, make_folder, put_content
from ..files.remote_path import RemotePath
from ..identity.content_digests import hex_bytes, hex_texts, key_words
from ..identity.spec import Spec
from ..layers import float_type, pick_layers, refuse_overflow
from ..shards.gather import Part, gather
from .cache_folder import Store
from .canary import read_canary, write_canary
from .failures import note_failure, read_failures
from .index import Index, Table
from .packed import PackedIndex

T = TypeVar("T")
PATIENCE = 100  # times that a read starts again because shards are being merged


class RowStore:
    """The rows of one spec, by key: read, stored, and where they are.

    Small and picklable: each process opens files when they are needed. `key`,
    `modality`, `n_layers` and `dim` are those of the spec.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Spec
    >>> spec = Spec({"format": 1, "modality": "text", "encoder": {"name": "toy"}, "pooling": "",
    ...              "layers": {"count": 1, "dim": 2}, "store_dtype": "float16"})
    >>> rows = RowStore(Store(tempfile.mkdtemp()), "toy", spec)
    >>> len(rows), rows.n_layers, rows.dim
    (0, 1, 2)
    """

    def __init__(self, store: Store, name: str, spec: Spec):
        self.store = store
        self.name = name
        self.spec = spec
        self.key, self.modality = spec.key, spec.modality
        self.n_layers, self.dim = spec.n_layers, spec.dim
        self.folder = store.path / "spaces" / name
        self._order: tuple[Table, np.ndarray] | None = None  # see `_ordered`
        self._index: Index | PackedIndex | None = None
        self._process = os.getpid()

    @property
    def index(self) -> Index | PackedIndex:
        """Where the rows are; read once per process, see `Index.refresh`."""
        if self._index is None or self._process != os.getpid():
            self._index = self._open_index()
            self._process = os.getpid()  # last: another thread takes it for the index's
        return self._index

    def _open_index(self) -> Index | PackedIndex:
        if self.store.packed:
            return PackedIndex(self.store.path, self.name, self.spec)
        return Index(self.folder, self.key).refresh()

    def __len__(self) -> int:
        return self.index.refresh().table.distinct

    def keys(self) -> set[str]:
        """Return the keys of all rows."""
        return set(hex_texts(self.index.refresh().table.raw))

    def stored(self, keys: Sequence[str]) -> np.ndarray:
        """Return for each row key whether its row is stored, as a mask."""
        shard, _ = self.index.refresh().table.find(keys)
        return shard >= 0

    def on_disk(self, keys: np.ndarray) -> np.ndarray:
        """Return the positions of keys ``(keys, 32)`` in the order in which their rows are stored.

        Rows that are read in this order are read from one file after another.
        """
        shard, row = self.index.table.find(keys)
        return np.lexsort((row, shard))

    def read(
        self,
        keys: Sequence[str] | np.ndarray,
        layers: Sequence[int],
        dtype: str = "float32",
        sums_out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read rows by key.

        Parameters
        ----------
        keys : sequence of str, or ndarray (keys, 32) uint8
            Row keys, repeats allowed.
        layers : sequence of int
            Layers, counted from 0.
        dtype : str
            Type of the result: of floats.
        sums_out : ndarray (layers, keys) uint64, optional
            Filled with the stored checksums.

        Returns
        -------
        values : ndarray (keys, layers, dim)
            Undefined where a row is missing.
        missing : ndarray of int
            Positions of the keys that are not stored.

        Raises
        ------
        DamagedError
            A vector is not what was stored. Names the shard and the remedy.
        InputError
            The type is not one of floats, or too small for a value.
        """
        raw = keys if isinstance(keys, np.ndarray) else hex_bytes(keys)
        words = key_words(raw)
        values = np.empty((len(keys), len(layers), self.dim), float_type(dtype))

        def read() -> tuple[dict[str, np.ndarray], np.ndarray]:
            parts, missing = self._parts(raw)
            return gather(parts, layers, words, values.transpose(1, 0, 2), sums_out), missing

        bad, missing = self.patiently(read)
        self.store.refuse_damaged(self.name, bad)
        refuse_overflow(self.name, self.spec.dtype, values, missing)
        return values, missing

    def patiently(self, act: Callable[[], T]) -> T:
        """Call what reads shards; again whenever one was merged into another meanwhile."""
        for _ in range(PATIENCE):
            try:
                return act()
            except FileNotFoundError:
                self.index.refresh()
        return act()

    def _parts(self, keys: np.ndarray) -> tuple[list[Part], np.ndarray]:
        """Return where the rows are, and the positions of the keys that are not stored."""
        index = self.index
        table = index.table
        shard, row = table.find(keys)
        while (shard < 0).any():  # look again, until the folder stays as it is
            known, table = table.names, index.refresh().table
            shard, row = table.find(keys)
            if table.names == known:
                break
        return self._located(table, shard, row), np.flatnonzero(shard < 0)

    def _located(self, table: Table, shard: np.ndarray, row: np.ndarray) -> list[Part]:
        """Return the part of each shard in a result of these rows; shard -1 is left out."""
        order = np.argsort(shard, kind="stable")
        return [
            Part(self.index.vectors(table.names[shard[into[0]]]), row[into], into)
            for into in np.split(order, np.flatnonzero(np.diff(shard[order])) + 1)
            if len(into) and shard[into[0]] >= 0
        ]

    def layer(self, layer: int, dtype: str | None = None) -> np.ndarray:
        """Return one layer of all rows ``(rows, dim)``, checked, in the order of `row_keys`.

        The fastest way to have much: no key is looked up.

        Parameters
        ----------
        layer : int
            Negative numbers count from the end.
        dtype : str, optional
            Type of the result, of floats; default: as stored.

        Raises
        ------
        DamagedError
            A vector is not what was stored.
        InputError
            The type is not one of floats, or too small for a value.
        """
        [layer] = pick_layers(layer, self.n_layers)
        found = float_type(dtype or self.spec.store_dtype)

        def read() -> tuple[np.ndarray, dict[str, np.ndarray]]:
            table, order = self._ordered()
            values = np.empty((len(order), self.dim), found)
            parts = self._located(table, table.shard[order], table.row[order].astype(np.int64))
            return values, gather(parts, [layer], table.words[order], values[None])

        values, bad = self.patiently(read)
        self.store.refuse_damaged(self.name, bad)
        refuse_overflow(self.name, self.spec.dtype, values, np.empty(0, np.intp))
        return values

    def row_keys(self) -> list[str]:
        """Return the keys of all rows, in the order of `layer` and `memory_map`.

        In a folder each key is there once, and the order stays while shards are merged. In a packed
        file it is that of its rows, where a content that two clips have in common appears twice.
        """
        table, order = self._ordered()
        return hex_texts(table.raw[order])

    def _ordered(self) -> tuple[Table, np.ndarray]:
        """Return the table, and the positions in it of the rows that `layer` gives, in order.

        The order stays the same as long as the rows do, even if their shards are merged: otherwise
        keys that were asked for before would not be those of the values.
        """
        table = self.index.table
        known = self._order
        if known is None or known[0] is not table:
            order = np.argsort(table.row) if self.store.packed else table.in_file_order
            if known is not None:
                before, now = np.sort(known[1]), np.sort(order)
                if np.array_equal(known[0].raw[before], table.raw[now]):
                    order = now[np.searchsorted(before, known[1])]
            known = self._order = table, order
        return known

    def memory_map(self, layer: int) -> np.memmap:
        """Map a layer of a packed space ``(rows, dim)``, in the stored type.

        The rows are those of `row_keys`, in the file's order.
        Every vector of the layer is checked once, now; later the system brings in what is used.

        Raises
        ------
        InputError
            The cache is a folder: pack it first.
        """
        if not self.store.packed:
            raise InputError(f"{self.store.path} is a folder; pack it to map a layer to memory")
        if isinstance(self.store.path, RemotePath):
            raise InputError(
                f"{self.store.path} is remote; only a local file can be mapped to memory"
            )
        [layer] = pick_layers(layer, self.n_layers)
        vectors = self.index.vectors(self.store.path.name)
        vectors.check(key_words(hex_bytes(self.index.rows(self.store.path.name).key)), [layer])
        start = int(vectors.starts[layer, 0])
        shape = (vectors.rows, vectors.dim)
        return np.memmap(vectors.path, vectors.dtype, "r", start, shape)

    def make(self) -> None:
        """Make the folders, so that they outlast a crash."""
        top = self.store.path
        for folder in (top / "tmp", self.folder / "shards"):
            make_folder(folder, top)

    def commit(self, pieces: Iterable[bytes | memoryview], keys: np.ndarray) -> str:
        """Store the pieces of a shard (see `shard_pieces`) durably; return its name."""
        with flushed(pieces, self.store.tmp) as (draft, digest):
            name = f"{digest[:24]}.h5"
            put_content(draft, digest, self.index.path(name), self.store.path)
        if isinstance(self.index, Index):
            self.index.add(name, keys)
        return name

    def close(self) -> None:
        """Leave a memo of the index, so that the next process opens at once."""
        if self._index is not None and not self.store.readonly:
            self._index.save(self.store.tmp)

    def fail(self, key: str | None, id: str, code: str, message: str) -> None:
        """Note that a clip could not be embedded, in ``failures.jsonl``.

        Losing a note costs nothing but time, so it is not flushed to the disk.
        """
        self.store.check_writable()
        self.make()
        note_failure(self.folder / "failures.jsonl", key, id, code, message)

    def failures(self) -> list[dict[str, Any]]:
        """Return the last failure of each clip that is not stored: key, id, code, message."""
        last = read_failures(self.folder / "failures.jsonl")
        keyed = [note for note in last if note["key"]]
        stored = self.stored([note["key"] for note in keyed])
        gone = {id(note) for note, is_stored in zip(keyed, stored, strict=True) if is_stored}
        return [note for note in last if id(note) not in gone]

    def damage(self) -> str:
        """Return which files are damaged, whose rows count as missing, and what to do; or ""."""
        if not (files := sorted(self.index.damaged)):
            return ""
        repair = f"affekt cache repair {in_shell(self.store.path)}"
        return f"{listed(files)} {'is' if len(files) == 1 else 'are'} damaged; run: {repair}"

    def canary(self) -> np.ndarray | None:
        """Return the canary ``(inputs, layers, dim)`` of when the space was made, or None."""
        return read_canary(self.folder / "canary.h5")

    def set_canary(self, values: np.ndarray) -> None:
        """Store the canary; one that is there stays."""
        self.make()
        write_canary(self.folder / "canary.h5", self.store.tmp, values)

    def summary(self) -> dict[str, Any]:
        """Return its size as plain values: what ``affekt cache ls`` prints."""

        def measure() -> tuple[Table, int]:
            table = self.index.refresh().table
            return table, sum(self.index.path(name).stat().st_size for name in table.names)

        table, nbytes = self.patiently(measure)
        return {
            "name": self.name,
            "rows": table.distinct,
            "layers": self.n_layers,
            "dim": self.dim,
            "dtype": self.spec.store_dtype,
            "shards": len(table.names),
            "bytes": nbytes,
            "failures": len(self.failures()),
        }

    def provenance(self) -> dict[str, Any]:
        """Return the library versions noted in its first shard."""
        return self.index.provenance()

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store, "name": self.name, "spec": self.spec.json()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["store"], state["name"], Spec.from_json(state["spec"]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowStore) and (self.folder, self.spec) == (
            other.folder,
            other.spec,
        )

    def __hash__(self) -> int:
        return hash((self.folder, self.key))

    def _repr_html_(self) -> str:
        return shown(f"{type(self).__name__} {self.name}", self.summary())

    def __repr__(self) -> str:
        shape = f"{self.n_layers} x {self.dim} {self.spec.store_dtype}"
        return f"{type(self).__name__}({self.name}, {shape})"
