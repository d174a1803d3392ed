"""A space: all embeddings of one spec, and the choice of layers that a head sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .errors import InputError, MissingError, in_shell, listed, one_of
from .identity.content_digests import row_keys
from .identity.known_digests import DISPUTED
from .identity.spec import Spec
from .layers import COMBINE, Combine, combine_layers, pick_layers
from .manifest import Manifest
from .manifest.manifest import check_manifest
from .manifest.selection import without_content
from .rows.cache_folder import Store
from .rows.compact import compact
from .rows.row_store import RowStore
from .rows.writer import Writer


class Space(RowStore):
    """All embeddings of one spec. Made by `Cache.create` or `Cache.space`.

    Small and picklable: each process opens files when they are needed. `key`,
    `modality`, `n_layers` and `dim` are those of the spec.

    Parameters
    ----------
    store : Cache
        The cache it is in.
    name : str
        Name of its folder.
    spec : Spec
        What made its embeddings.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Cache, Manifest
    >>> from affekt.cache.care.import_export import import_space
    >>> clips = Manifest.from_rows([{"id": "a", "text": "good"}, {"id": "b", "text": "bad"}])
    >>> values = {"a": np.ones((2, 3)), "b": np.zeros((2, 3))}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     space, _ = import_space(Cache(folder), values, clips, "toy")
    ...     len(space), space.n_layers, space.dim, space.missing(clips), space.failures()
    (2, 2, 3, [], [])
    """

    def __init__(self, store: Store, name: str, spec: Spec):
        super().__init__(store, name, spec)
        self._last_keys: tuple[list, list[str | None]] = [], []  # content -> keys

    @property
    def cache(self) -> Any:
        """The cache it is in."""
        return self.store

    def read_clips(
        self, clips: Manifest, layers: Sequence[int], dtype: str = "float32"
    ) -> np.ndarray:
        """Return the embeddings of clips ``(clips, layers, dim)``, in the order of `clips`.

        Joined by content; see `Cache.read`.

        Raises
        ------
        MissingError
            Clips that are not stored, and the command that computes them.
        DamagedError
            A vector is not what was stored.
        """
        keys = self.keys_of(clips)
        asked = [key for key in keys if key is not None]
        values, absent = self.read(asked, layers, dtype)
        if len(asked) < len(clips) or len(absent):
            known = np.flatnonzero([key is not None for key in keys])
            gone = sorted({*range(len(clips))} - {*known.tolist()} | {*known[absent].tolist()})
            raise missing_error(self, clips, [clips.ids[i] for i in gone])
        return values

    def missing(self, clips: Manifest) -> list[str]:
        """Return the ids of the clips that are not stored, in order."""
        keys = self.keys_of(clips)
        stored = iter(self.stored([key for key in keys if key is not None]).tolist())
        return [
            id_ for id_, key in zip(clips.ids, keys, strict=True) if key is None or not next(stored)
        ]

    def keys_of(self, clips: Manifest) -> list[str | None]:
        """Return the row key of each clip; None where its content is not known."""
        check_manifest(clips)
        is_text = self.modality == "text"
        fed = clips["text"].tolist() if is_text else self._digests(clips)
        if fed != self._last_keys[0]:  # the same clips are often asked for again: other layers
            digests = self._digests(clips) if is_text else fed
            self._last_keys = fed, row_keys(self.key, self.modality, digests)
        return list(self._last_keys[1])

    def _digests(self, clips: Manifest) -> list[str | None]:
        return self.store.digests(clips, self.modality, refuse=False)

    def features(
        self, layers: int | Sequence[int] | Literal["all"] = -1, combine: Combine = "concat"
    ) -> Features:
        """Return a choice of layers for a head.

        Parameters
        ----------
        layers, combine
            See `Features`; negative layers count from the end.
        """
        return Features(self, pick_layers(layers, self.n_layers), combine)

    def writer(self, canary: Callable[[], np.ndarray] | None = None, **options: Any) -> Writer:
        """Return a context manager that stores rows; see `Writer`."""
        self.store.check_writable()
        return Writer(self, canary, **options)

    def compact(
        self, progress: Callable[[int, int], None] | None = None, small: int | None = None
    ) -> tuple[int, int]:
        """Merge shards of less than `small` bytes (default: 128 MiB), safely under readers and
        writers; return the number of shards before and after.
        """
        return compact(self, progress=progress, small=small)


@dataclass(frozen=True)
class Features:
    """A choice of layers of a space.

    Parameters
    ----------
    space : Space
        Where the embeddings are stored.
    layers : tuple of int
        Layers, counted from 0.
    combine : {"concat", "mean", "mix"}
        "concat" and "mix" give the layers side by side ("mix": the head learns a weight for
        each), "mean" gives their mean.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Cache, Manifest
    >>> from affekt.cache.care.import_export import import_space
    >>> clips = Manifest.from_rows([{"id": "a", "text": "good"}, {"id": "b", "text": "bad"}])
    >>> values = {"a": np.ones((2, 3)), "b": np.zeros((2, 3))}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     space, _ = import_space(Cache(folder), values, clips, "toy")
    ...     both = space.features("all", combine="mix")
    ...     both.n_layers, both.width, both.read(clips).shape
    (2, 6, (2, 6))
    """

    space: Space
    layers: tuple[int, ...]
    combine: str = "concat"

    def __post_init__(self):
        one_of(self.combine, COMBINE, "combine")
        if not self.layers:
            raise InputError("features need at least one layer")

    @property
    def n_layers(self) -> int:
        """Number of layers as the head sees them."""
        return 1 if self.combine == "mean" else len(self.layers)

    @property
    def width(self) -> int:
        """Number of columns that `read` gives."""
        return self.n_layers * self.space.dim

    def read(self, clips: Manifest) -> np.ndarray:
        """Return the features ``(clips, width)`` in float32, in the order of `clips`.

        Raises
        ------
        MissingError
            Clips that are not stored.
        """
        values = self.space.read_clips(clips, self.layers)
        return combine_layers(values, self.combine)

    def describe(self) -> dict[str, Any]:
        """Return what a model stores: space, spec key, layers, combine."""
        return {
            "space": self.space.name,
            "spec_key": self.space.key,
            "layers": list(self.layers),
            "combine": self.combine,
        }


def missing_error(rows: RowStore, clips: Manifest, ids: list[str]) -> MissingError:
    """Return the error that names clips that are not stored, why, and how to store them."""
    kind, blank = without_content(clips.select(ids), rows.modality)
    if blank:
        return MissingError(
            f"{rows.name}: {len(blank)} of {len(clips)} clips have no {kind}, so there is nothing "
            f"to embed: {listed(blank)}. Leave them out",
            ids,
        )
    failed = {note["id"]: note["code"] for note in rows.failures()}
    codes = sorted({failed[id_] for id_ in ids if id_ in failed})
    known = f" Extract could not embed some of them ({', '.join(codes)})." if codes else ""
    hurt = f" {damage}." if (damage := rows.damage()) else ""
    return MissingError(
        f"{rows.name}: {len(ids)} of {len(clips)} clips are not stored: {listed(ids)}."
        f"{known}{hurt}{_disputed(rows, clips, ids)} {_remedy(rows, clips)}",
        ids,
    )


def _disputed(rows: RowStore, clips: Manifest, ids: list[str]) -> str:
    """Return the message about missing clips whose content the index cannot decide."""
    if rows.modality == "text":
        return ""
    wanted = set(ids)
    places = [i for i, id_ in enumerate(clips.ids) if id_ in wanted]
    disputed = [i for i in places if len(rows.store.clips.remembered(clips, i).digests) > 1]
    found = [clips.ids[i] for i in disputed if not clips.file(i).is_file()]
    return f" Of these, {listed(found)} {DISPUTED}." if found else ""


def _remedy(rows: RowStore, clips: Manifest) -> str:
    """Return how to store missing rows."""
    encoder, packed = rows.spec.fields["encoder"], rows.store.packed
    folder = "DIR" if packed else in_shell(rows.store.path)
    source = in_shell(clips.source)
    if encoder.get("imported") is True:
        remedy = (
            "Another tool computed this space; import its values again, with those clips:"
            f" affekt cache import {folder} SOURCE --manifest {source} --name NAME"
        )
    elif clips.source.startswith("<"):  # made in a program: no command can read it
        remedy = (
            f"Compute them: extract(clips, Cache({'DIR' if packed else str(rows.store.path)!r}),"
            f" Encoder({encoder['name']!r}))"
        )
    else:
        remedy = (
            "Compute them:"
            f" affekt extract {source} --cache {folder} --encoder {in_shell(encoder['name'])}"
        )
    if packed:
        remedy += (
            "\nwhere DIR is the cache that was packed. This file never changes: pack it again:"
            " affekt cache pack DIR OUT.h5"
        )
    return remedy
