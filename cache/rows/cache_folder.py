"""The folder of a cache: who may write, where drafts and damaged files go, which clips are known.

`Cache` and `Space` are built on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedError, InputError, SpecError, in_shell, listed, one_of
from ..files.atomic_writes import entries
from ..files.cache_marker import check_cache_folder
from ..files.durable import set_aside
from ..files.kept_results import keeping_results
from ..files.output_checks import check_takes_files
from ..files.reading import check_regular
from ..files.remote_path import path_of_cache
from ..identity.clip_index import ClipIndex, Seen
from ..identity.content_digests import KINDS, text_digest
from ..identity.known_digests import HeldDigests, Reading
from ..identity.spec import Spec
from ..manifest import Manifest
from .index import NAME
from .packed import PackedClips


class Store:
    """A folder of rows, or a packed file, and the index of the clips whose content is known.

    Parameters
    ----------
    path : path
        The folder, or a file made by `pack`, which is read-only; the file may have an address of
        fsspec, as ``"s3://bucket/packed.h5"``.
    readonly : bool
        Refuse to write.

    Examples
    --------
    >>> import tempfile
    >>> store = Store(tempfile.mkdtemp(), readonly=True)
    >>> store.packed, store.tmp.name
    (False, 'tmp')
    """

    def __init__(self, path: str | os.PathLike, *, readonly: bool = False):
        if not os.fspath(path):
            raise InputError("the path of the cache is blank; expected a folder")
        self.path = path_of_cache(path)
        self.packed = self.path.is_file()
        self.readonly = readonly or self.packed
        self.clips = PackedClips(self.path) if self.packed else ClipIndex(self.path)
        #: manifest -> warning that its clips may be of another corpus
        self.corpus_warnings: dict[str, str] = {}
        self._held: HeldDigests | None = None
        self._takes_files = False  # until tried

    @property
    def tmp(self) -> Path:
        """Folder for unfinished files."""
        return self.path / "tmp"

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
        kind : {"audio", "text"}
            Which part of a clip counts.
        hash_files : bool
            Read files that are not known or have changed; else their digest is None.
        rehash : bool
            Read every file, and trust no memo.
        refuse : bool
            Refuse clips whose file is not available and had different contents under different
            roots; else their digest is None.
        record : bool
            Remember the clips whose files are available under this id and path, so that the cache
            knows them where the audio is not: also of files that were renamed.

        Returns
        -------
        list of str or None
            None: the file is missing and was never read, or there is no text.
        """
        one_of(kind, KINDS, "kind")
        if kind == "text":
            return list(self.each_digest(clips, kind))
        held = None if rehash or record else self._held
        if held is not None and (found := held.digests(clips)) is not None:
            return found
        how = (hash_files, rehash, refuse, record and not self.readonly)
        found = list(Reading(self.clips, clips, self.corpus_warnings, *how).digests())
        if held is not None:
            held.keep(clips, found)
        return found

    def keeping_results(self) -> AbstractContextManager[None]:
        """Keep what is computed with `kept` in the cache, until the end of the block."""
        return keeping_results(self.path, readonly=self.readonly)

    @contextmanager
    def held_digests(
        self, known: Iterable[tuple[Manifest, Sequence[str | None]]] = ()
    ) -> Iterator[None]:
        """Look at each recording once until the end of the block, however often it is asked for.

        A file that changes meanwhile counts as it was; of clips whose digests are `known` the files
        are not looked at.
        """
        before, self._held = self._held, HeldDigests()
        for clips, digests in known:
            self._held.keep(clips, digests)
        try:
            yield
        finally:
            self._held = before

    def each_digest(self, clips: Manifest, kind: str) -> Iterator[str | None]:
        """Yield what `digests` returns without reading a file, one after another.

        Ten million digests at once are more than 1 GB. Warnings come in the end.
        """
        one_of(kind, KINDS, "kind")
        if kind == "text":
            return (text_digest(text) if text.strip() else None for text in clips["text"])
        if self._held is not None:
            return iter(self.digests(clips, kind, hash_files=False))
        return Reading(self.clips, clips, self.corpus_warnings).digests()

    def record(self, lines: Iterable[Seen]) -> None:
        """Store what was read for clips durably (see `seen`), as one segment of the index."""
        self.check_writable()
        self.clips.record(lines)

    def check_writable(self, *, by_writing: bool = True) -> None:
        """Refuse to write into a cache opened read-only, or what takes no embeddings.

        Parameters
        ----------
        by_writing : bool
            Write a file, once, into each of its folders; that fails where the disk is read-only
            or full.
        """
        if self.packed:
            raise InputError(f"{self.path} is packed and never changes; extract into a folder")
        if self.readonly:
            raise InputError(f"{self.path} was opened read-only")
        check_cache_folder(self.path)
        if by_writing and not self._takes_files:
            for name in ("", "tmp", "clips", "spaces"):
                check_takes_files("cache", self.path, self.path / name)
            self._takes_files = True

    def refuse_damaged(self, name: str, bad: dict[str, np.ndarray]) -> None:
        """Raise if vectors of a space were found damaged: file -> positions of its rows."""
        if bad:
            path = in_shell(self.path)
            remedy = f"Run: affekt cache repair {path}, then extract again"
            if self.packed:  # which cannot be repaired: it never changes
                remedy = f"Pack it again: affekt cache pack <the folder it was packed from> {path}"
            raise DamagedError(
                f"{name}: {sum(map(len, bad.values()))} rows are damaged, in"
                f" {listed([Path(file).name for file in bad])}. {remedy}"
            )

    def quarantine(self, path: Path) -> Path:
        """Move a damaged file aside; never delete it. Return where it is."""
        return set_aside(path, self.path / "quarantine", self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "readonly": self.readonly}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], readonly=state["readonly"])


def is_space(folder: Path) -> bool:
    """Return whether a folder holds anything of a space: a spec or a shard.

    Without both it is a space that a killed process left unfinished, or not a space.
    """
    if not folder.is_dir():
        return False
    if os.path.lexists(folder / "spec.json"):
        return True
    return any(NAME.fullmatch(path.name) for path in entries(folder / "shards"))


def read_spec(folder: Path, cache: Path) -> Spec:
    """Return the spec of a space of the cache in the folder `cache`.

    Raises
    ------
    DamagedError
        ``spec.json`` is missing, damaged, or not the one of this folder.
    SpecError
        The space has a newer format.
    """
    path = folder / "spec.json"
    remedy = f"run: affekt cache repair {in_shell(cache)}"
    try:
        check_regular(path)
        spec = Spec.from_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing; {remedy}") from None
    except SpecError:  # a newer format
        raise
    except InputError as error:
        raise DamagedError(f"{error}; {remedy}") from error
    if not folder.name.endswith(f"-{spec.key[:8]}"):
        raise DamagedError(
            f"{path} holds the spec {spec.key[:8]}, which is not that of this folder; {remedy}"
        )
    return spec
