"""Where a manifest's paths lead, and how a foreign table is kept inside a root.

One's own table may name any regular file, by an absolute path, through ``..`` or a link. With a
root that was given, what is written is checked first, without touching a file: no ``..``, and no
absolute path but one inside the root. Links are followed when a file is asked for, and must end
inside the root.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from ..errors import InputError, nearest_beside
from ..files.home_folder import at_home

MAKERS = (
    "Manifest.read makes a manifest of a file, Manifest.from_frame of a DataFrame, "
    "Manifest.from_rows of dictionaries"
)


def path_of(given: object) -> Path:
    """Return a path that a caller gives; anything else, such as a DataFrame, is an error."""
    if not isinstance(given, (str, os.PathLike)):
        raise InputError(f"path is of type {type(given).__name__}, expected a path; {MAKERS}")
    return Path(at_home(given))


def corpus_folder(given: object, needs: str = "") -> Path:
    """Return a folder that a caller gives; it has to be there, and the file that it needs."""
    folder = path_of(given)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder.{nearest_beside(folder)}")
    if needs and not (folder / needs).is_file():
        raise InputError(f"{folder} has no file {needs}")
    return folder


def check_written(
    written: str, place: Callable[[], str], *, allow_outside: bool, root: Path | None = None
) -> None:
    """Refuse a path by the way it is written.

    Parameters
    ----------
    written : str
        As written in the manifest; may be blank.
    place : callable
        Returns its place in the manifest, for the message.
    allow_outside : bool
        Allow any absolute path and ``..``; addresses and NUL never are.
    root : Path, optional
        Absolute paths inside it are fine; without one, none is.
    """
    if written.startswith("file://"):
        plain = unquote(written.removeprefix("file://").removeprefix("localhost"))
        raise InputError(f"{place()}: path {written!r} is a URL; write {plain!r}")
    if "://" in written:
        raise InputError(
            f"{place()}: path {written!r} is a URL; download it and give the path of the file"
        )
    if "\0" in written:
        raise InputError(f"{place()}: path {written!r} holds a NUL character")
    if written[:1] == "$":
        raise InputError(
            f"{place()}: path {written!r}: variables are not expanded in a table; write the "
            "folder, or leave it out and give --root"
        )
    if allow_outside:
        return
    if written[:1] == "~":
        raise InputError(
            f"{place()}: path {written!r} is not inside the manifest's root: ~ is not expanded in "
            "a table with a root; write the path as it is from there, or give no root for a table "
            "of your own"
        )
    absolute = written[:1] in ("/", "\\") or written[1:3] in (":\\", ":/")
    climbs = ".." in written and ".." in written.replace("\\", "/").split("/")
    if climbs or (absolute and (root is None or not _inside(written, root))):
        where = "" if root is None else f" {root}"
        raise InputError(
            f"{place()}: path {written!r} is outside of the manifest's root{where}; if no root is "
            "given, a table of your own may name any file"
        )


def _inside(written: str, root: Path) -> bool:
    """Whether an absolute path is in the root, under either of the root's names."""
    tops = (make(root) for make in (os.path.abspath, os.path.realpath))
    return any(written.startswith(top.rstrip(os.sep) + os.sep) for top in tops)


def folder_digest(folder: Path) -> str:
    """Return a digest, 16 hex digits, of an absolute folder, which does not reveal its name."""
    real = os.path.realpath(folder).encode("utf-8", "surrogateescape")
    return hashlib.sha256(real).hexdigest()[:16]


class Folder:
    """The root of a manifest, which finds files and remembers resolved folders."""

    def __init__(self, root: Path, *, allow_outside: bool):
        self.root = root
        self.allow_outside = allow_outside
        self._real_root: str | None = None
        self._real: dict[str, str] = {}
        self._stored: dict[str, dict[str, list[str]]] = {}  # folder -> NFC -> names

    def file(self, written: str, place: Callable[[], str]) -> Path:
        """Return the file that a path means; it need not exist.

        Raises
        ------
        InputError
            It leaves the root through a link.
        """
        if "\\" in written and os.sep == "/" and not os.path.lexists(self.root / written):
            written = written.replace("\\", "/")  # a table that was written on Windows
        if written[:1] == "~" and self.allow_outside and not os.path.lexists(self.root / written):
            written = os.path.expanduser(written)  # noqa: PTH111
        folder, name = os.path.split(written)
        if folder not in self._real:
            self._real[folder] = os.path.realpath(self._as_stored(str(self.root / folder)))
        real = os.path.join(self._real[folder], name)  # noqa: PTH118 - runs once per clip
        real = real if name.isascii() else self._as_stored(real)
        # what is wrong with a file (missing, too long, a loop of links, a pipe) says who reads it
        with suppress(OSError):
            if stat.S_ISLNK(os.lstat(real).st_mode):
                real = os.path.realpath(real)
        if not self.allow_outside and not self._holds(real):
            raise InputError(
                f"{place()}: path {written!r} leaves the root {self.root} through a link; if no "
                "root is given, the links of a table of your own are followed"
            )
        return Path(real)

    @cached_property
    def digest(self) -> str:
        """Digest of the root, 16 hex digits."""
        return folder_digest(self.root)

    def seen_from(self, base: str | os.PathLike, written: str) -> str:
        """Return a path as a table in the folder `base` writes it: relative inside it, or whole."""
        if not written:
            return written
        if written[:1] == "~" and not os.path.lexists(self.root / written):
            written = os.path.expanduser(written)  # noqa: PTH111
        path = os.path.abspath(self.root / written)  # noqa: PTH100 - links stay as they are
        top = os.path.abspath(base) + os.sep  # noqa: PTH100
        return path.removeprefix(top)

    def _as_stored(self, path: str) -> str:
        """Return a path whose parts have the Unicode form of the names in their folders.

        A folder that was on a Mac spells ``ü`` as ``u`` and a mark. Two such names stay apart.
        """
        if path.isascii() or os.path.lexists(path):
            return path
        folder, name = os.path.split(path)
        folder = self._as_stored(folder)
        if folder not in self._stored:
            found = self._stored[folder] = {}
            with suppress(OSError):
                for one in os.listdir(folder):  # noqa: PTH208 - names are what is wanted
                    found.setdefault(unicodedata.normalize("NFC", one), []).append(one)
        same = self._stored[folder].get(unicodedata.normalize("NFC", name), [])
        return os.path.join(folder, same[0] if len(same) == 1 else name)  # noqa: PTH118

    def _holds(self, real: str) -> bool:
        if self._real_root is None:
            self._real_root = os.path.realpath(self.root).rstrip(os.sep) + os.sep
        return real.startswith(self._real_root)

    def __getstate__(self):
        return {"root": self.root, "allow_outside": self.allow_outside}

    def __setstate__(self, state):
        self.__init__(state["root"], allow_outside=state["allow_outside"])


def hint_absolute(written: str, root: Path) -> str:
    """Return what of an absolute path, as of another computer, leads to a file of the root."""
    parts = Path(written.replace("\\", "/")).parts
    is_absolute = written[:1] == "/" or written[1:2] == ":"
    folder = Folder(root, allow_outside=True)
    for i in range(1, len(parts) * is_absolute):
        end = "/".join(parts[i:])
        if folder.file(end, lambda: written).is_file():
            return f"there is {end}: leave out what is before it in the path"
    return ""


def folder_of(default: Path, root: str | os.PathLike | None, allow_outside: bool | None) -> Folder:
    """Return where paths lead: a root that is given confines them unless that is waived."""
    given = root is not None
    outside = not given if allow_outside is None else allow_outside
    return Folder(Path(at_home(root)) if given else default, allow_outside=outside)
