"""A model folder on disk: `config.json` and `model.safetensors`, written whole or not at all.

Loading runs no code: strict JSON with a closed set of keys, and one safetensors file whose sha256
is in the config. Anything else in the folder (a pickle, say) is never opened.

`encoders.json` notes the folders of encoders that came from folders. It is for this machine only,
and not uploaded; the digests in the model's spec show whether a folder still holds the encoder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affekt.versions import version_of

from ....cache.errors import DamagedError, InputError, nearest, nearest_beside
from ....cache.files.atomic_writes import draft, write_whole
from ....cache.files.home_folder import at_home
from ....cache.files.output_checks import check_output_folder
from ....cache.files.reading import read_note, read_object
from ....cache.identity.encoder_folder import encoder_folder, from_portable, to_portable
from .kept_files import aside_of, replace_folder

if TYPE_CHECKING:
    from ....cache.identity.spec import Spec
    from ....cache.manifest import Manifest
    from ....cache.space import Space

FORMAT = "affekt-model/1"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
ENCODERS = "encoders.json"  # of this machine; not part of the model
ENCODERS_FORMAT = "affekt-encoders/1"
LARGEST_CONFIG = 1_000_000  # bytes
LARGEST_WEIGHTS = 4_000_000_000  # bytes

#: every key of config.json, and what it holds; [x] is a list of x, (x, y) is one or the other
SCHEMA: dict[str, Any] = {
    "format": str,
    "affekt": str,
    "task": dict,
    "labels": [str],
    "features": [{"spec": dict, "layers": [int], "combine": str}],
    "scale": (bool, dict),
    "head": {"name": str, "state": dict},
    "record": dict,
    "weights": {"file": str, "sha256": str, "bytes": int},
}

log = logging.getLogger(__name__)


def write_folder(
    folder: str | Path,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    encoders: bytes = b"",
) -> None:
    """Write a model folder as a draft and move it into place.

    Parameters
    ----------
    folder : path
        An older model there is replaced; it stays whole until the new one is. Other files in its
        folder stay.
    config : mapping
        JSON values for every key of the schema except format and weights.
    arrays : mapping of str to numpy.ndarray
    encoders : bytes
        Content of `encoders.json`; without it the file is not written.

    Raises
    ------
    InputError
        `folder` is a file, or a folder that is not a model.
    OSError
        No space, no permission; the older model is untouched.

    Examples
    --------
    See `affekt.classify.Model.save_pretrained`.
    """
    import safetensors.numpy

    folder = check_target(folder)
    weights = safetensors.numpy.save({name: np.ascontiguousarray(a) for name, a in arrays.items()})
    described = {
        "format": FORMAT,
        **config,
        "weights": {
            "file": WEIGHTS,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "bytes": len(weights),
        },
    }
    text = json.dumps(described, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    _check(described, SCHEMA, str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with draft(folder) as new:
        new.mkdir()
        write_whole(new / WEIGHTS, weights, durable=True)
        write_whole(new / CONFIG, text, durable=True)
        if encoders:
            write_whole(new / ENCODERS, encoders, durable=True)
        replace_folder(new, folder)


def check_target(folder: str | Path, option: str = "the folder") -> Path:
    """Return where a model may be written: nothing is there, or an older model."""
    folder = Path(at_home(folder))
    folder = folder if folder.name else folder.resolve()  # "." has no name for a draft
    check_output_folder(option, folder)
    if folder.exists() and not _is_model(folder):
        raise InputError(f"{option} {folder} exists and holds no model; choose another folder")
    return folder


def _models_inside(folder: Path) -> str:
    """Return a hint to the models in the folder of a run's member."""
    if (folder / "model" / CONFIG).is_file():
        return f". Did you mean {folder / 'model'}?"
    if (folder / "model-1" / CONFIG).is_file():
        return (
            ". It has a model of each fold: give the folder of the run and "
            f"`system={folder.name!r}` for their mean, or one of them, such as {folder / 'model-1'}"
        )
    return ""


def read_folder(folder: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a model folder, and check everything.

    Returns
    -------
    config : dict
        Every key of the schema.
    arrays : dict of str to numpy.ndarray
    """
    import safetensors
    import safetensors.numpy

    if not str(folder):
        raise InputError('"" names no model folder')
    folder = _standing(Path(at_home(folder)))
    if not folder.is_dir():
        is_file = folder.exists()
        what = "it is a file" if is_file else "nothing is there"
        raise InputError(
            f"{folder} is not a model folder: {what}; expected a folder with {CONFIG} and "
            f"{WEIGHTS}, the folder of a run, or a Hub id owner/name."
            + ("" if is_file else nearest_beside(folder))
        )
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} is not a model folder: {name} is missing; expected {CONFIG} and "
                f"{WEIGHTS}, as `affekt train` and Model.save_pretrained write them"
                + _models_inside(folder)
            )
    others = sorted(
        {path.name for path in folder.iterdir()} - {CONFIG, WEIGHTS, ENCODERS, "README.md"}
    )
    if others:
        log.warning("%s: not opened: %s", folder, ", ".join(others))
    source = str(folder / CONFIG)
    config = read_object(folder / CONFIG, largest=LARGEST_CONFIG)
    if config.get("format") != FORMAT:
        kind = config.get("model_type")
        raise InputError(
            f"{source}: format is {config.get('format')!r}; this version of affekt reads {FORMAT!r}"
            + f". It is a checkpoint ({kind}): name it as an encoder, and train a head on it"
            * isinstance(kind, str)
        )
    _check(config, SCHEMA, source)
    expected = config["weights"]
    if expected["file"] != WEIGHTS:
        raise InputError(f"{source}: weights.file is {expected['file']!r}; expected {WEIGHTS!r}")
    size = (folder / WEIGHTS).stat().st_size
    if size != expected["bytes"] or size > LARGEST_WEIGHTS:
        raise DamagedError(
            f"{folder / WEIGHTS} has {size} bytes; {CONFIG} says {expected['bytes']}: the two "
            "files are not of the same model, or the copy is incomplete; copy the folder again"
        )
    data = (folder / WEIGHTS).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected["sha256"]:
        raise DamagedError(
            f"{folder / WEIGHTS}: sha256 is {digest[:16]}..., {CONFIG} says "
            f"{expected['sha256'][:16]}...: the weights were changed; copy the folder again"
        )
    try:
        return config, safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{folder / WEIGHTS} is not a sound safetensors file: {error}") from None


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
    text = json.dumps({"format": ENCODERS_FORMAT, "encoders": noted}, indent=1, ensure_ascii=False)
    return f"{text}\n".encode()


def read_folders(place: Path, specs: Sequence[Spec]) -> dict[str, Path]:
    """Return spec key -> folder, as noted in the model folder `place`."""
    path = place / ENCODERS
    if not path.is_file():
        return {}
    found = read_object(path)
    try:
        if found["format"] != ENCODERS_FORMAT:
            raise KeyError("format")
        noted = {key: str(one["folder"]) for key, one in found["encoders"].items()}
    except (KeyError, TypeError, AttributeError):
        raise InputError(
            f"{path} was not written by affekt; delete it, and name encoders with --encoder"
        ) from None
    return {
        spec.key: from_portable(noted[spec.key[:16]], place)
        for spec in specs
        if spec.key[:16] in noted
    }


def _is_model(folder: Path) -> bool:
    """Whether a folder may be replaced: it is empty, or a model of ours."""
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    return str(read_note(folder / CONFIG).get("format")).startswith("affekt-model/")


def _check(value: Any, schema: Any, where: str) -> None:
    if isinstance(schema, list):
        if not isinstance(value, list):
            raise InputError(f"{where}: expected a list, got {type(value).__name__}")
        for position, item in enumerate(value):
            _check(item, schema[0], f"{where}[{position}]")
    elif isinstance(schema, dict):
        if not isinstance(value, dict):
            raise InputError(f"{where}: expected an object, got {type(value).__name__}")
        for key in value:
            if key not in schema:
                raise InputError(f"{where}: unknown key {key!r}.{nearest(key, list(schema))}")
        for key, inner in schema.items():
            if key not in value:
                raise InputError(f"{where}: the key {key!r} is missing")
            _check(value[key], inner, f"{where}: {key}")
    elif not isinstance(value, schema) or (schema is int and isinstance(value, bool)):
        kinds = schema if isinstance(schema, tuple) else (schema,)
        names = " or ".join(kind.__name__ for kind in kinds)
        raise InputError(f"{where}: expected {names}, got {type(value).__name__}")


def _standing(folder: Path) -> Path:
    """Return the folder, or the older one if a save was killed between its two renames."""
    if not folder.name:  # "." or "/": there it is
        return folder
    aside = aside_of(folder)
    return aside if aside.is_dir() and not folder.exists() else folder


def describe(clips: Manifest) -> dict[str, Any]:
    """Return size, content hash, labels and languages of the clips; speakers are only counted."""
    return {
        "clips": len(clips),
        "hash": clips.hash,
        "labels": dict(sorted(Counter(clips["label"]).items())),
        "speakers": len(set(clips["speaker"]) - {""}),
        "languages": dict(sorted(Counter(clips["language"]).items())),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a head's numbers."""
    names = ("affekt", "numpy", "scikit-learn", "torch")
    found = {name: version_of(name) or "unknown" for name in names}
    return {"python": platform.python_version(), **found}
