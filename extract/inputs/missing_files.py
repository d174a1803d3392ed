"""Find a missing file under another extension, case, Unicode form or folder."""

from __future__ import annotations

import os
import unicodedata
from functools import lru_cache
from pathlib import Path

from ...cache.errors import in_shell, is_url
from ...cache.manifest.paths import hint_absolute

_PARENTS = 3  # of a root, that may be what the paths start from


def hint_missing(path: Path, written: str = "", root: Path | None = None, source: str = "") -> str:
    """Return a hint such as ``"; there is a.flac"``, or nothing.

    Parameters
    ----------
    path : Path
        The file that is not there.
    written : str
        The path as the manifest has it.
    root : Path, optional
        What the manifest's paths start from.
    source : str
        The manifest.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.FLAC").write_bytes(b"")
    ...     hint_missing(Path(folder) / "a.wav")
    '; there is a.FLAC'
    """
    if is_url(path):
        return "; expected a file on this machine, not a URL"
    try:
        near = _nearest(path)
        if near:
            return f"; there is {near}"
        place = _other_root(written, root, source) if root is not None and written else None
        end = "" if root is None or place is not None else hint_absolute(written, root)
    except OSError:
        return ""
    if place is not None:
        return f"; there is one in {place}: --root {in_shell(place)}"
    if end:
        return f"; {end}"
    if str(path)[:1] == "~":
        return "; ~ between quotation marks stands for itself: write it before them, as ~/'a b.wav'"
    folder = path.parent
    if not folder.exists():
        above = next((one for one in folder.parents if one.exists()), None)
        return (
            ""
            if above is None
            else f"; {above} has no folder {folder.relative_to(above).parts[0]!r}"
            + (": --root names the folder that the paths start from" if root is not None else "")
        )
    return ""


def _nearest(path: Path) -> str:
    names = _names(str(path.parent))
    wanted = _folded(path.name)
    found = names.get(wanted) or names.get(os.path.splitext(wanted)[0])  # noqa: PTH122
    if found is None:
        return ""
    note = ""
    if found != path.name and found.strip() == path.name.strip():
        note = " (with blanks at its ends)" if found != found.strip() else ""
    elif unicodedata.normalize("NFC", found) == unicodedata.normalize("NFC", path.name):
        note = " (in another Unicode form)"
    return f"{found}{note}"


@lru_cache(maxsize=8)
def _names(folder: str) -> dict[str, str]:
    """Return folded name, and folded stem, -> name, of the files in a folder."""
    found: dict[str, str] = {}
    stems: dict[str, str] = {}
    try:
        listed = sorted(os.listdir(folder))  # noqa: PTH208 - names are what is wanted
    except OSError:
        return {}
    for name in listed:
        folded = _folded(name)
        found.setdefault(folded, name)
        stems.setdefault(os.path.splitext(folded)[0], name)  # noqa: PTH122
    return stems | found


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


def _other_root(written: str, root: Path, source: str) -> Path | None:
    """Return a folder from which the path as written leads to a file."""
    top = Path(os.path.abspath(root))  # noqa: PTH100 - links stay as they are
    places = [Path(os.path.abspath(source)).parent, Path.cwd(), *list(top.parents)[:_PARENTS]]  # noqa: PTH100
    return next((one for one in places if one != top and (one / written).is_file()), None)
