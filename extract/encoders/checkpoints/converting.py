"""Turn a ``pytorch_model.bin`` into safetensors, once.

The only place that reads a pickle, and only through ``torch.load(weights_only=True)``, which
builds tensors and nothing else. The copy is next to the digest memo, under the digest of what it
was made from, so the next start reads safetensors. A copy whose bytes are not those that were
written is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ....cache.errors import InputError
from ....cache.files.atomic_writes import write_whole, written
from ....cache.files.reading import file_sha256
from .fingerprint import fingerprint, memo_folder

SAVE_ALONE = (
    "If it is part of a module of your own (Lightning), save the transformers model in it alone: "
    "module.encoder.save_pretrained(FOLDER)"
)


def converted(weights: Sequence[Path]) -> Path:
    """Return a folder with ``model.safetensors``, made from ``.bin`` files.

    Parameters
    ----------
    weights : sequence of pathlib.Path
        The ``.bin`` file, or all its shards.

    Returns
    -------
    pathlib.Path
        The folder; made at the first call.

    Raises
    ------
    InputError
        If a file holds anything but named tensors.
    """
    digests = "\n".join(f"{path.name} {fingerprint(path)}" for path in weights)
    folder = memo_folder() / "converted" / hashlib.sha256(digests.encode()).hexdigest()[:40]
    target = folder / "model.safetensors"
    note = folder / "model.safetensors.sha256"
    if _is_whole(target, note):
        return folder
    from safetensors.torch import save_file

    tensors = {}
    for path in weights:
        tensors.update(_read_bin(path))
    with written(target) as draft:
        save_file(tensors, draft, metadata={"format": "pt"})
        digest = file_sha256(draft)
    write_whole(note, digest)
    return folder


def _is_whole(target: Path, note: Path) -> bool:
    """Whether a copy is there with the sha256 that was noted; all its bytes are read for it."""
    try:
        return file_sha256(target) == note.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return False


def _read_bin(path: Path) -> dict:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # the unpickler's own errors have no common base
        raise InputError(
            f"{path} does not hold tensors only, and affekt opens no other pickle: {error}. "
            + SAVE_ALONE
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise InputError(
            f"{path} holds more than named tensors; expected a state dict. {SAVE_ALONE}"
        )
    # copies, since safetensors refuses tensors that share memory
    return {key: value.detach().clone().contiguous() for key, value in state.items()}
