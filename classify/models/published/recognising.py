"""Which published checkpoint a folder or Hub id is, by its files; then it becomes a `Model`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ....cache.errors import InputError
from ....cache.files.reading import read_object
from ..folders.restore import looks_like_an_id
from .as_model import Published
from .tensors import tensor_shapes, with_weights

OWNERS = ("UMUTeam", "vocametrix")  # whose Hub ids `affekt predict` takes without an import


def published(
    place: str | os.PathLike[str],
    *,
    encoders: Sequence[str | os.PathLike[str]] = (),
    device: str = "auto",
    any_id: bool = False,
    revision: str | None = None,
    **options: Any,
) -> Published | None:
    """Make a model of a published checkpoint.

    Parameters
    ----------
    place : path or str
        A folder, or a Hub id.
    encoders : sequence of path
        Folder or Hub id of the encoder that is not in the folder: XLSR-53 of the valence head, the
        BERT of UMUTeam's joint modes. Their published Hub ids by default.
    device : str
        As for `Encoder`.
    any_id : bool, default=False
        Look up every Hub id, not only those of the known owners.
    revision : str, optional
        Commit, tag or branch on the Hub.
    **options
        What the folder does not say: ``mode`` and ``labels``, or the keyword arguments of
        `load_vocametrix`.

    Returns
    -------
    Published or None
        None if nothing of the kind is there.

    Raises
    ------
    InputError
        The folder does not say enough (the message names the option), or is not whole.

    Examples
    --------
    >>> import tempfile
    >>> published(tempfile.mkdtemp()) is None
    True
    """
    folder = Path(place).expanduser()
    if not folder.is_dir():
        owner = str(place).partition("/")[0]
        if not looks_like_an_id(place) or not (any_id or owner in OWNERS):
            return None
        folder = with_weights(str(place), revision).folder
    elif revision is not None:
        raise InputError(f"`{revision=}` was given with {place}, which is a folder")
    kind = _kind(folder)
    if not kind:
        return None
    given = {word: value for word, value in options.items() if value is not None}
    if kind == "valence":
        _refuse(given, ("mode",), "the valence head has no modes")
        if len(encoders) > 1:
            raise InputError(f"{len(encoders)} encoders; expected one, XLSR-53: `encoders=FOLDER`")
        from .vocametrix import load_vocametrix

        valence = load_vocametrix(place, revision=revision, **given)
        return valence.as_model(encoders[0] if encoders else None, device=device)
    _refuse(
        given,
        sorted(given.keys() - {"mode", "labels"}),
        "belongs to the Vocametrix valence head; this is a fine-tuned classifier",
    )
    from .finetuned import classifier_parts

    return classifier_parts(
        str(place), folder, encoders=encoders, device=device, revision=revision, **given
    )


def _kind(folder: Path) -> str:
    """Return what a folder holds: "valence", "classifier", or "" for anything else."""
    try:
        path = folder / "config.json"
        config = read_object(path, lenient=True) if path.is_file() else {}
    except InputError:
        return ""
    if "format" in config:
        return ""
    from .finetuned import HEADS

    weights = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
    if str(config.get("model_type")) in HEADS:
        fine_tuned = "Classification" in str(config.get("architectures"))
        whole = any((folder / name).is_file() for name in weights)
        return "classifier" if whole and (fine_tuned or _has_head(folder)) else ""
    for path in sorted(folder.glob("*.safetensors")):
        if path.name != "scaler.safetensors":
            names = tensor_shapes([path])
            if any(name.endswith("layers.0.self_attn.in_proj_weight") for name in names):
                return "valence"
    return ""


def _has_head(folder: Path) -> bool:
    path = folder / "model.safetensors"
    return path.is_file() and any(name.startswith("classifier.") for name in tensor_shapes([path]))


def _refuse(options: Mapping[str, Any], words: Sequence[str], why: str) -> None:
    if found := [f"--{word.replace('_', '-')}" for word in words if word in options]:
        raise InputError(f"{', '.join(found)}: {why}; leave it out")
