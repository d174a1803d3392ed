"""Tell whether a folder is a space, and open it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DamagedError, InputError
from ..identity.spec import Spec
from ..shards.hdf5 import check_regular
from ..space import Space
from .index import NAME

if TYPE_CHECKING:
    from ..cache import Cache


def is_space(folder: Path) -> bool:
    """Say whether a folder holds anything of a space: a spec or a shard.

    Without both it is a space that a killed process had only begun to make, or somebody else's.
    """
    if not folder.is_dir():
        return False
    if os.path.lexists(folder / "spec.json"):
        return True
    shards = folder / "shards"
    return shards.is_dir() and any(NAME.fullmatch(path.name) for path in shards.iterdir())


def open_space(cache: Cache, folder: Path) -> Space:
    """Open a space by its folder.

    Raises
    ------
    DamagedError
        ``spec.json`` is missing, damaged, or not the one of this folder.
    SpecError
        The space has a newer format.
    """
    path = folder / "spec.json"
    remedy = f"run: affekt cache repair {cache.path}"
    try:
        check_regular(path)
        spec = Spec.from_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing; {remedy}") from None
    except InputError as error:
        if "newer" in str(error):
            raise
        raise DamagedError(f"{error}; {remedy}") from error
    if not folder.name.endswith(f"-{spec.key[:8]}"):
        raise DamagedError(f"{path} is the spec {spec.key[:8]}, not of this folder; {remedy}")
    return Space(cache, folder.name, spec)
