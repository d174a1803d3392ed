"""A cache: a folder of spaces, and the index of the clips whose content is known."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .care.remedies import missing_error, no_such_spec
from .errors import (
    AffektError,
    InputError,
    SpecError,
    listed,
    nearest,
)
from .features import pick_layers
from .files.durable import publish, set_aside
from .files.marker import check_cache_folder
from .identity.audio_digests import audio_digests
from .identity.clip_index import ClipIndex, Seen
from .identity.digests import KINDS, row_keys, text_digest
from .identity.spec import Spec, slug
from .manifest import Manifest
from .rows.index import Index
from .rows.packed import PackedClips, PackedIndex, packed_spaces
from .rows.space_folder import is_space, open_space
from .space import Space

if TYPE_CHECKING:
    from .care.repair import Repair
    from .care.verify import Report


class Cache:
    """A folder that holds spaces. It is made at the first write.

    Any number of processes may read and write one cache. A cache may be pickled.

    Parameters
    ----------
    path : path
        The folder, or a file made by `pack`, which is read-only.
    readonly : bool
        Refuse to write.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from affekt.cache import Manifest, Spec, row_key, text_digest
    >>> clips = Manifest.from_rows([{"id": "a", "text": "good"}, {"id": "b", "text": "bad"}])
    >>> spec = Spec({"format": 1, "modality": "text", "encoder": {"name": "toy"},
    ...              "layers": {"count": 2, "dim": 3}, "pooling": "", "store_dtype": "float32"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = Cache(folder)
    ...     space = cache.create(spec)
    ...     with space.writer() as writer:
    ...         for clip in clips:
    ...             key = row_key(space.key, "text", text_digest(clip.text))
    ...             writer.add(key, clip.id, np.full((2, 3), len(clip.text), np.float32))
    ...     cache.read(space, clips.select(["b", "a"]), layers=-1)
    array([[3., 3., 3.],
           [4., 4., 4.]], dtype=float32)
    """

    def __init__(self, path: str | os.PathLike, *, readonly: bool = False):
        if not os.fspath(path):
            raise InputError("the path of the cache is blank; expected a folder")
        self.path = Path(path)
        self.packed = self.path.is_file()
        self.readonly = readonly or self.packed
        self._known: dict[str, Space] = {}
        self.said_elsewhere: dict[str, str] = {}  # manifest -> what was said; see audio_digests
        self.clips = PackedClips(self.path) if self.packed else ClipIndex(self.path)

    def spaces(self) -> list[Space]:
        """Return the spaces that can be opened, by name; see `broken` for the others."""
        return [space for space in self._open().values() if isinstance(space, Space)]

    def broken(self) -> dict[str, str]:
        """Return the folders of spaces that cannot be opened, and why."""
        return {name: str(e) for name, e in self._open().items() if isinstance(e, Exception)}

    def space(self, which: str | Spec | Space) -> Space:
        """Return a space by its name, the beginning of its name, its spec key, or its spec.

        Raises
        ------
        InputError
            There is none, or several.
        """
        if isinstance(which, Space):
            return which
        spaces = self.spaces()
        if not which:
            names = [space.name for space in spaces]
            raise InputError(
                f"{self.path}: the name of a space is empty; it has {listed(names) or 'none'}"
            )
        if isinstance(which, Spec):
            return self._by_spec(which, spaces)
        for found in (
            [space for space in spaces if space.name == which],
            [space for space in spaces if space.name.startswith(which)],
            [space for space in spaces if len(which) >= 8 and space.key.startswith(which)],
        ):
            if len(found) == 1:
                return found[0]
            if found:
                names = listed([space.name for space in found])
                raise InputError(f"{self.path}: {which!r} is the beginning of {names}; say which")
        for name, found in self._open().items():
            if name.startswith(which) and isinstance(found, Exception):
                raise found
        names = [space.name for space in spaces]
        raise InputError(
            f"{self.path} has no space {which!r}; it has {listed(names) or 'none'}."
            + nearest(which, [name[:-9] for name in names])
        )

    def create(self, spec: Spec, name: str | None = None) -> Space:
        """Return the space of a spec, and make it if it is not there.

        Parameters
        ----------
        spec : Spec
            What makes the embeddings.
        name : str, optional
            Readable name of a new space; the spec's by default. 8 digits of its key are added.
        """
        for space in self.spaces():
            if space.spec == spec:
                return space
        self.check_writable()
        space = Space(self, f"{slug(name or spec.name)}-{spec.key[:8]}", spec)
        space.make()
        path = space.folder / "spec.json"
        if not publish(spec.json().encode(), path, self.path / "tmp"):
            other = open_space(self, space.folder).spec  # another process was first
            if other != spec:
                raise SpecError(f"{path} is of another spec:\n{other.explain(spec)}")
        return space

    def read(
        self,
        space: str | Space,
        clips: Manifest,
        layers: int | Iterable[int] | None = None,
        *,
        dtype: str = "float32",
    ) -> np.ndarray:
        """Return the embeddings of clips, joined by content, in the order of `clips`.

        Parameters
        ----------
        space : Space or str
            Where they are stored.
        clips : Manifest
            Whose they are; a clip may stand there more than once.
        layers : int, list of int, or None
            One layer, several, or all. Negative numbers count from the end.
        dtype : str
            Type of the result.

        Returns
        -------
        ndarray
            ``(clips, dim)`` for one layer, else ``(clips, layers, dim)``.

        Raises
        ------
        MissingError
            Clips that are not stored, and the command that computes them; never zeros instead.
        DamagedError
            A vector is not what was stored.
        """
        space = self.space(space)
        one = isinstance(layers, (int, np.integer))
        chosen = pick_layers(layers, space.n_layers)
        keys = self.keys(space, clips)
        asked = [key for key in keys if key is not None]
        values, absent = space.read(asked, chosen, dtype)
        if len(asked) < len(clips) or len(absent):
            known = np.flatnonzero([key is not None for key in keys])
            gone = sorted({*range(len(clips))} - {*known.tolist()} | {*known[absent].tolist()})
            raise missing_error(space, clips, [clips.ids[i] for i in gone])
        return values[:, 0] if one else values

    def missing(self, space: str | Space, clips: Manifest) -> list[str]:
        """Return the ids of the clips that are not stored in a space, in order."""
        space = self.space(space)
        keys = self.keys(space, clips)
        stored = iter(space.stored([key for key in keys if key is not None]).tolist())
        return [
            id_ for id_, key in zip(clips.ids, keys, strict=True) if key is None or not next(stored)
        ]

    def keys(self, space: Space, clips: Manifest) -> list[str | None]:
        """Return the row key of each clip; None where its content is not known."""
        is_text = space.modality == "text"
        fed = clips["text"].tolist() if is_text else self.digests(clips, "audio", refuse=False)
        if fed != space.last_keys[0]:  # the same clips are often asked for again: other layers
            digests = self.digests(clips, "text") if is_text else fed
            space.last_keys = fed, row_keys(space.key, space.modality, digests)
        return list(space.last_keys[1])

    def digests(
        self,
        clips: Manifest,
        kind: str,
        *,
        hash_files: bool = True,
        rehash: bool = False,
        refuse: bool = True,
        record: bool = False,
    ) -> list[str | None]:
        """Return the content digest of each clip.

        Parameters
        ----------
        clips : Manifest
            The clips.
        kind : {"audio", "text"}
            Which part of a clip counts.
        hash_files : bool
            Read files that are not known or have changed; else their digest is None.
        rehash : bool
            Read every file, and trust no memo.
        refuse : bool
            Refuse clips whose file is not at hand and had different contents under different roots;
            else their digest is None.
        record : bool
            Remember the clips whose files are at hand under this id and path, so that the cache
            knows them where the audio is not: also of files that were renamed.

        Returns
        -------
        list of str or None
            None: the file is not at hand and was never read, or there is no text.
        """
        if kind not in KINDS:
            raise InputError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
        if kind == "text":
            return [text_digest(text) if text.strip() else None for text in clips["text"]]
        return audio_digests(
            self, clips, hash_files=hash_files, rehash=rehash, refuse=refuse, record=record
        )

    def record(self, lines: Iterable[Seen]) -> None:
        """Store what was read for clips durably (see `seen`), as one segment of the index."""
        self.check_writable()
        self.clips.record(lines)

    def verify(
        self, quick: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> Report:
        """Check every byte of the cache; change nothing.

        Parameters
        ----------
        quick : bool
            Trust shards whose size and times are as they were when they were last checked.
        progress : callable (done, total), optional
            Called after each shard.
        """
        from .care.verify import verify

        return verify(self, quick=quick, progress=progress)

    def repair(self, progress: Callable[[int, int], None] | None = None) -> Repair:
        """Verify, move what is damaged into ``quarantine/``, and remove unfinished files.

        The next extract computes exactly the rows that were lost. A damaged ``spec.json`` is made
        anew from a shard.
        """
        from .care.repair import repair

        self.check_writable()
        return repair(self, progress=progress)

    def pack(
        self,
        out: str | os.PathLike,
        clips: Manifest | None = None,
        spaces: Iterable[str | Space] | None = None,
        *,
        overwrite: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Write one plain HDF5 file with everything in it; `Cache` reads it like a folder.

        Parameters
        ----------
        out : path
            The file.
        clips : Manifest, optional
            Whose rows go in, in this order and with their labels, speakers, languages and splits.
            Clips without text are left out of a space of texts, those without audio out of one of
            audio. Default: all rows.
        spaces : iterable of Space or str, optional
            Which spaces; default: all.
        overwrite : bool
            Replace a file that is there.
        progress : callable (done, total), optional
            Called with rows.

        Raises
        ------
        MissingError
            Clips that are not stored.
        OSError
            Not enough room; nothing was written.
        """
        from .care.pack import pack

        return pack(self, Path(out), clips, spaces, overwrite=overwrite, progress=progress)

    def check_writable(self) -> None:
        """Refuse to write into a cache that was opened read-only, or a folder that is no cache."""
        if self.packed:
            raise InputError(f"{self.path} is packed and never changes; extract into a folder")
        if self.readonly:
            raise InputError(f"{self.path} was opened read-only")
        check_cache_folder(self.path)

    def quarantine(self, path: Path) -> Path:
        """Move a damaged file aside; never delete it. Return where it is."""
        return set_aside(path, self.path / "quarantine", self.path)

    def open_index(self, space: Space) -> Index | PackedIndex:
        """Return where the rows of a space are."""
        if self.packed:
            return PackedIndex(self.path, space.name, space.spec)
        return Index(space.folder, space.key).refresh()

    def _open(self) -> dict[str, Space | Exception]:
        """Open all spaces; one that was open already keeps its index."""
        found: dict[str, Space | Exception] = {}
        if self.packed:
            specs = packed_spaces(self.path)
            found |= {name: Space(self, name, spec) for name, spec in specs.items()}
        top = self.path / "spaces"
        for folder in sorted(top.iterdir()) if top.is_dir() else ():
            try:
                if is_space(folder):
                    found[folder.name] = open_space(self, folder)
            except (AffektError, OSError) as error:  # it costs its own space only
                found[folder.name] = error
        for name, space in found.items():
            if self._known.get(name) == space:
                found[name] = self._known[name]
        self._known = {name: space for name, space in found.items() if isinstance(space, Space)}
        return found

    def _by_spec(self, spec: Spec, spaces: list[Space]) -> Space:
        for space in spaces:
            if space.spec == spec:
                return space
        raise no_such_spec(self.path, spec, spaces)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "readonly": self.readonly}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], readonly=state["readonly"])

    def __repr__(self) -> str:
        return f"Cache({os.fspath(self.path)!r})"
