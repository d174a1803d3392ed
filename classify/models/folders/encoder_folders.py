"""The folders of a model's encoders, noted next to it as `encoders.json`.

Only for encoders that came from folders, and only on this machine: the note is not uploaded. That
a folder still holds the encoder is checked by the digests in the model's spec.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ....cache.errors import InputError
from ....cache.files.reading import read_object
from ....cache.identity.encoder_folder import encoder_folder, from_portable, to_portable
from ....cache.identity.spec import Spec
from ....cache.space import Space
from .model_folder import ENCODERS

FORMAT = "affekt-encoders/1"


def folders_of(spaces: Sequence[Space]) -> dict[str, Path]:
    """Return spec key -> folder, for the spaces whose encoder was a folder and is still there."""
    found = {space.key: encoder_folder(space.folder) for space in spaces}
    return {key: folder for key, folder in found.items() if folder is not None and folder.is_dir()}


def written_folders(folders: Mapping[str, Path], specs: Sequence[Spec], place: Path) -> bytes:
    """Return the note for the model folder `place`; blank if there is nothing to note."""
    noted = {
        spec.key[:16]: {"name": spec.name, "folder": to_portable(folders[spec.key], place)}
        for spec in specs
        if spec.key in folders
    }
    if not noted:
        return b""
    text = json.dumps({"format": FORMAT, "encoders": noted}, indent=1, ensure_ascii=False)
    return f"{text}\n".encode()


def read_folders(place: Path, specs: Sequence[Spec]) -> dict[str, Path]:
    """Return spec key -> folder, as noted in the model folder `place`."""
    path = place / ENCODERS
    if not path.is_file():
        return {}
    found = read_object(path)
    try:
        if found["format"] != FORMAT:
            raise KeyError("format")
        noted = {key: str(one["folder"]) for key, one in found["encoders"].items()}
    except (KeyError, TypeError, AttributeError):
        raise InputError(
            f"{path} is not a note of affekt; delete it, and name encoders with --encoder"
        ) from None
    return {
        spec.key: from_portable(noted[spec.key[:16]], place)
        for spec in specs
        if spec.key[:16] in noted
    }
