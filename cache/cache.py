"""A cache: a folder of spaces, and the index of the clips whose content is known."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from affekt.notebook import shown

from .errors import AffektError, InputError, SpecError, in_shell, listed, nearest, nearest_beside
from .files.atomic_writes import entries
from .files.durable import publish
from .identity.spec import Spec, short_name, slug
from .layers import pick_layers
from .manifest import Manifest
from .rows.cache_folder import Store, is_space, read_spec
from .rows.packed import packed_spaces
from .space import Space


class Cache(Store):
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
        super().__init__(path, readonly=readonly)
        self._known: dict[str, Space] = {}

    def spaces(self) -> list[Space]:
        """Return the spaces that can be opened, by name; see `broken` for the others."""
        return [space for space in self._open().values() if isinstance(space, Space)]

    def broken(self) -> dict[str, str]:
        """Return the folders of spaces that cannot be opened, and why."""
        return {name: str(e) for name, e in self._open().items() if isinstance(e, Exception)}

    def find(self, spec: Spec) -> Space | None:
        """Return the space of exactly this spec, or None; mind that an empty space is false."""
        return next((space for space in self.spaces() if space.key == spec.key), None)

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
                f"{self.path}: the space name is empty; expected one of {listed(names) or 'none'}"
            )
        if isinstance(which, Spec):
            return self._by_spec(which, spaces)
        for found in (
            [space for space in spaces if space.name == which],
            [space for space in spaces if short_name(space.name) == which],
            [space for space in spaces if space.name.startswith(which)],
            [space for space in spaces if len(which) >= 8 and space.key.startswith(which)],
        ):
            if len(found) == 1:
                return found[0]
            if found:
                names = listed([space.name for space in found])
                raise InputError(
                    f"{self.path}: {which!r} matches several spaces: {names}; give the full name"
                )
        for name, found in self._open().items():
            if name.startswith(which) and isinstance(found, Exception):
                raise found
        names = [space.name for space in spaces]
        if not names and not self.path.exists():
            raise InputError(f"there is no cache {self.path}.{nearest_beside(self.path)}")
        raise InputError(
            f"{self.path} has no space {which!r}; it has {listed(names) or 'none'}."
            + (
                nearest(Path(which).name, [*map(short_name, names)])
                or f" affekt extract --encoder {in_shell(which)} makes one" * Path(which).is_dir()
            )
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
        if (space := self.find(spec)) is not None:
            return space
        self.check_writable()
        space = Space(self, f"{slug(name or spec.name)}-{spec.key[:8]}", spec)
        space.make()
        path = space.folder / "spec.json"
        if not publish(spec.json().encode(), path, self.tmp):
            other = read_spec(space.folder, self.path)  # another process was first
            if other != spec:
                raise SpecError(f"{path} has a different spec:\n{other.explain(spec)}")
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
            The clips to read; a clip may be there more than once.
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
        values = space.read_clips(clips, chosen, dtype)
        return values[:, 0] if one else values

    def missing(self, space: str | Space, clips: Manifest) -> list[str]:
        """Return the ids of the clips that are not stored in a space, in order."""
        return self.space(space).missing(clips)

    def keys(self, space: str | Space, clips: Manifest) -> list[str | None]:
        """Return the row key of each clip; None where its content is not known."""
        return self.space(space).keys_of(clips)

    def _open(self) -> dict[str, Space | Exception]:
        """Open all spaces; one that was open already keeps its index."""
        found: dict[str, Space | Exception] = {}
        if self.packed:
            specs = packed_spaces(self.path)
            found |= {name: Space(self, name, spec) for name, spec in specs.items()}
        for folder in entries(self.path / "spaces"):
            try:
                if is_space(folder):
                    found[folder.name] = Space(self, folder.name, read_spec(folder, self.path))
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
        if not spaces:
            raise InputError(f"{self.path} has no space of {spec.name}; it has no spaces at all")
        alike = min(spaces, key=lambda space: len(space.spec.diff(spec)))
        raise SpecError(
            f"{self.path} has no space of {spec.name} with these settings; the closest, "
            f"{alike.name}, was computed differently:\n{alike.spec.explain(spec)}"
        )

    def __repr__(self) -> str:
        return f"Cache({os.fspath(self.path)!r})"

    def _repr_html_(self) -> str:
        names = ("name", "rows", "layers", "dim", "dtype", "bytes", "failures")
        rows = [[space.summary()[name] for name in names] for space in self.spaces()]
        return shown(f"Cache {os.fspath(self.path)}", {}, names, rows, len(rows))
