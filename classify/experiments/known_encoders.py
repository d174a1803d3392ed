"""Encoders that a run opened before: their spec, known without opening them again.

Opening a pretrained encoder imports torch and needs its files. Where every row is stored, a run
needs its spec only. So the cache remembers, in ``encoders/``, what a name with its options
meant: the spec, and the stat of the files of its folder. It is a memo: it may be deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affekt.versions import version_of

from ...cache.cache import Cache
from ...cache.errors import AffektError
from ...cache.files.atomic_writes import write_json
from ...cache.files.durable import make_folder
from ...cache.files.reading import read_note
from ...cache.identity.spec import Spec

FORMAT = 1
DEEPEST = 2  # levels of an encoder's folder that are looked at


@dataclass(frozen=True)
class Opened:
    """What an encoder was when it was last opened.

    Attributes
    ----------
    spec : Spec
        For float32 storage.
    is_current : bool
        Whether opening it again would give the same: its files and affekt are as they were. Of a
        Hub id this means the commit that was resolved then.
    is_gone : bool
        Whether its folder is not there any more.
    """

    spec: Spec
    is_current: bool
    is_gone: bool


def recall(cache: Cache, options: Mapping[str, Any]) -> Opened | None:
    """Return what an encoder was when it was last opened for this cache; None if not known.

    Parameters
    ----------
    options : mapping
        Arguments of `affekt.extract.Encoder`.
    """
    note = read_note(_path(cache, options))
    try:
        if note["format"] != FORMAT or note["options"] != _own(options):
            return None
        spec = Spec(note["spec"])
        files, affekt = note["files"], note["affekt"]
    except (KeyError, AffektError):
        return None
    gone = files is not None and not _folder(options).is_dir()
    current = affekt == version_of("affekt") and (files is None or _files(options) == files)
    return Opened(spec, current and not gone, gone)


def remember(cache: Cache, options: Mapping[str, Any], spec: Spec) -> None:
    """Store what an encoder is; if that fails, it only costs time.

    Parameters
    ----------
    options : mapping
        Arguments of `affekt.extract.Encoder`.
    spec : Spec
        For float32 storage.
    """
    if cache.readonly or not cache.path.is_dir():
        return
    note = {
        "format": FORMAT,
        "affekt": version_of("affekt"),
        "options": _own(options),
        "files": _files(options) if _folder(options).is_dir() else None,
        "spec": spec.fields,
    }
    path = _path(cache, options)
    with suppress(OSError, UnicodeEncodeError):
        for folder in (path.parent, cache.path / "tmp"):
            make_folder(folder, cache.path)
        write_json(path, note, tmp=cache.path / "tmp")


def _own(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that decide the spec."""
    return {key: options[key] for key in sorted(options) if key != "device"}


def _path(cache: Cache, options: Mapping[str, Any]) -> Path:
    text = json.dumps(_own(options), sort_keys=True)
    return cache.path / "encoders" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def _folder(options: Mapping[str, Any]) -> Path:
    return Path(str(options["name"])).expanduser()


def _files(options: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return size, mtime and inode of the files of an encoder's folder, by relative path."""
    top = _folder(options)
    found = {}
    for level in range(1, DEEPEST + 1):
        for path in sorted(top.glob("/".join("*" * level))):
            with suppress(OSError):
                at = os.stat(path)  # noqa: PTH116 - follows links, as opening does
                if path.is_file():
                    name = path.relative_to(top).as_posix()
                    found[name] = [at.st_size, at.st_mtime_ns, at.st_ino]
    return found
