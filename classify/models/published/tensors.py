"""Tensors of a published checkpoint: found, listed and compared before any is used.

safetensors first; a ``.bin`` is read through `torch.load(weights_only=True)`, converted once.
Names and shapes come from the file's header, so a wrong checkpoint is refused before it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ....cache.errors import DamagedError, InputError, listed
from ....cache.files.reading import read_object
from ....extract.hub import SAFE_FILES, Place, locate

FLOATS = ("F64", "F32", "F16", "BF16")
PICKLED = ("pytorch_model.bin", "model.bin")
Shape = tuple[int, ...]


def with_weights(name: str, revision: str | None = None) -> Place:
    """Find a checkpoint with its weights: tensors as safetensors, or ``.bin`` if there are none."""
    place = locate(name, revision)
    if place.repository and not any(place.folder.glob("*.safetensors")):
        return locate(name, place.commit, allow=[*SAFE_FILES, *PICKLED])
    return place


def tensor_files(folder: Path) -> list[Path]:
    """Find the safetensors files of a folder: whole, in shards, or made from its ``.bin``."""
    from ....extract.encoders.checkpoints.checkpoint import find_weights
    from ....extract.encoders.checkpoints.converting import converted

    files, container = find_weights(folder, PICKLED)
    return [converted(files) / "model.safetensors"] if container == "pickle" else list(files)


def tensor_shapes(files: Sequence[Path]) -> dict[str, Shape]:
    """List the tensors of safetensors files, name by name, without reading them.

    Examples
    --------
    >>> import tempfile, numpy
    >>> from safetensors.numpy import save_file
    >>> path = Path(tempfile.mkdtemp(), "model.safetensors")
    >>> save_file({"w": numpy.zeros((2, 3))}, path)
    >>> tensor_shapes([path])
    {'w': (2, 3)}
    """
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, Shape] = {}
    for path in files:
        try:
            with safe_open(path, framework="numpy") as file:
                for key in file.keys():  # noqa: SIM118 - a safe_open is not a mapping
                    if key in shapes:
                        raise DamagedError(f"{path}: the tensor {key} is in another file too")
                    part = file.get_slice(key)
                    if part.get_dtype() not in FLOATS:
                        raise InputError(f"{path}: {key} holds {part.get_dtype()}; expected floats")
                    shapes[key] = tuple(part.get_shape())
        except SafetensorError as error:
            raise DamagedError(f"{path} is not a sound safetensors file: {error}") from error
    return shapes


def account_for(found: Mapping[str, Shape], expected: Mapping[str, Shape], where: str) -> None:
    """Compare tensors with those of an architecture, name by name.

    Examples
    --------
    >>> account_for({"a": (2,), "c": (1,)}, {"a": (3,), "b": (1,)}, "model")
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: model: missing: b; left over: c; of another shape: a is (2,)...
    """
    parts = {
        "missing": [name for name in expected if name not in found],
        "left over": [name for name in found if name not in expected],
        "of another shape": [
            f"{name} is {tuple(found[name])}, expected {tuple(shape)}"
            for name, shape in expected.items()
            if name in found and tuple(found[name]) != tuple(shape)
        ],
    }
    wrong = [f"{what}: {listed(names, 8)}" for what, names in parts.items() if names]
    if wrong:
        raise InputError(f"{where}: {'; '.join(wrong)}. Only a complete checkpoint is loaded")


def read_config(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's ``config.json`` strictly; refuse one that brings code of its own."""
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        path = folder / name
        if path.is_file() and '"auto_map"' in path.read_text("utf-8", errors="replace"):
            raise InputError(
                f"{path} asks for the repository's own code (auto_map), which is never run"
            )
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds no config.json")
    return read_object(folder / "config.json", lenient=True)
