"""Find a checkpoint, refuse what must not be loaded, and say what it is without loading it.

A name is a local folder, or a Hub id whose branch or tag is resolved once to a commit. Nothing
here runs code from a repository: a checkpoint that brings its own is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....cache.errors import InputError
from ....cache.files.reading import LFS_POINTER, read_json, read_object
from ...hub import locate
from .fingerprint import fingerprint

_DOWNLOAD = ("*.json", "*.txt", "*.model", "model*.safetensors", "0_Transformer/*.safetensors")
_DOWNLOAD += ("bpe.codes", "*.spm", "*.tokenizer", "*.tiktoken")  # vocabularies of some tokenizers
_DOWNLOAD_PICKLE = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
# what a configuration says about its own origin, not about the numbers
_VOLATILE = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "_commit_hash"}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes
    ----------
    folder : pathlib.Path
        Holds ``config.json``, the weights and the processor's files.
    source : dict
        ``{"name": id, "origin": "hub", "commit": 40 hex}``, or ``{"name": ..., "origin":
        "folder"}``: a folder is known by its own name and its digests, never by its path.
    config : dict
        The content of ``config.json``.
    weights : tuple of pathlib.Path
        The files that hold tensors.
    container : str
        ``"safetensors"`` or ``"pickle"``.
    root : pathlib.Path
        The folder that was named; `folder` may be one inside, in sentence-transformers' way.
    """

    folder: Path
    source: dict[str, str]
    config: dict[str, Any]
    weights: tuple[Path, ...]
    container: str
    root: Path

    @property
    def name(self) -> str:
        """Readable, without owner: ``"wav2vec2-large-xlsr-53"``."""
        return self.source["name"].rsplit("/", 1)[-1]

    @property
    def model_type(self) -> str:
        """The family's name as transformers spells it."""
        return self.config["model_type"]

    def describe(self) -> dict[str, Any]:
        """Return what is in it: origin, sha256 of the weights' files and of the config."""
        return {
            **self.source,
            "weights": {path.name: fingerprint(path) for path in self.weights},
            "container": self.container,
            "config": config_digest(self.config),
        }


def find_checkpoint(name: str, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint by folder or Hub id.

    Parameters
    ----------
    name : str
        A local folder, or ``owner/repository``.
    revision : str, optional
        Commit, tag or branch of a Hub repository; the default branch if left out.

    Raises
    ------
    InputError
        If nothing is there, if it needs code of its own, if it is an adapter or quantised, or if
        it holds no weights that can be read safely.
    """
    located = locate(name, revision, allow=_DOWNLOAD, what="encoder")
    root = located.folder
    folder = _transformer_folder(root)
    if located.repository is None:
        source = {"name": root.resolve().name, "origin": "folder"}
    else:
        source = {"name": name, "origin": "hub", "commit": str(located.commit)}
        if not any(folder.glob("model*.safetensors")):
            locate(name, located.commit, allow=_DOWNLOAD_PICKLE, what="encoder")
    _refuse_pointers(folder)
    config = _read_config(folder)
    weights, container = find_weights(folder)
    return Checkpoint(folder, source, config, weights, container, root)


def config_digest(config: Mapping[str, Any]) -> str:
    """Hash a configuration, without the fields that only say where it came from."""
    kept = {key: value for key, value in config.items() if key not in _VOLATILE}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _transformer_folder(root: Path) -> Path:
    """Follow ``modules.json`` of a sentence-transformers folder to its transformer."""
    modules = root / "modules.json"
    if not modules.is_file():
        return root
    listed = read_json(modules, lenient=True)
    first = listed[0] if isinstance(listed, list) and listed else {}
    if not isinstance(first, dict) or not str(first.get("type", "")).endswith("Transformer"):
        raise InputError(
            f"{modules}: the first module is {first!r}; expected a sentence-transformers "
            "Transformer (other kinds have no layers to read)"
        )
    folder = (root / str(first.get("path") or ".")).resolve()
    if not folder.is_relative_to(root.resolve()):
        raise InputError(f"{modules}: the path {first['path']!r} leaves the folder")
    return folder


def _refuse_pointers(folder: Path) -> None:
    """Refuse a repository that was cloned without its large files."""
    for path in sorted(folder.glob("*.*")):
        small = path.is_file() and path.stat().st_size < 1024
        if small and path.read_bytes().startswith(LFS_POINTER):
            raise InputError(f"{path}: a pointer of Git LFS, not the file; git lfs pull fetches it")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if (folder / "adapter_config.json").is_file():
        raise InputError(
            f"{folder} is a PEFT adapter, not a whole model: merge it into its base model and save "
            "that (merge_and_unload, save_pretrained)"
        )
    if not path.is_file():
        inside = sorted([*folder.glob("snapshots/*/config.json"), *folder.glob("*/config.json")])
        hint = f". Is it {inside[0].parent}?" if inside else ""  # as in the cache of the Hub
        raise InputError(f"{folder} holds no config.json: expected a transformers checkpoint{hint}")
    config = read_object(path, lenient=True)
    if not isinstance(config.get("model_type"), str):
        raise InputError(f"{path} names no model_type: expected a transformers configuration")
    for file in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        listed = read_object(folder / file, lenient=True) if (folder / file).is_file() else {}
        if listed.get("auto_map") and not _is_native(listed):
            raise InputError(
                f"{folder / file} asks for the repository's own code (auto_map: "
                f"{', '.join(map(str, listed['auto_map']))}); affekt never runs it. Use a "
                "checkpoint that the transformers library supports, or wrap your own model "
                'with Encoder.of (docs/guide/encoders.md, "Models with code of their own")'
            )
    if config.get("quantization_config"):
        raise InputError(f"{path}: a quantised checkpoint; give the unquantised one")
    return config


def _is_native(listed: Mapping[str, Any]) -> bool:
    """Whether transformers has the class that a file names, so that no other code is needed."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if "model_type" in listed:
        return listed["model_type"] in CONFIG_MAPPING
    kind = listed.get("tokenizer_class") or listed.get("feature_extractor_type")
    return isinstance(kind, str) and hasattr(transformers, kind)


def find_weights(
    folder: Path, pickled: Sequence[str] = ("pytorch_model.bin",)
) -> tuple[tuple[Path, ...], str]:
    """Find the weights: safetensors first, ``.bin`` otherwise, whole or in shards."""
    for stem in ("model.safetensors", *pickled):
        container = "pickle" if stem in pickled else "safetensors"
        if (folder / stem).is_file():
            return (folder / stem,), container
        index = folder / f"{stem}.index.json"
        if index.is_file():
            return _shards(index), container
    found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise InputError(
        f"{folder} holds no model.safetensors and no pytorch_model.bin (found: {found}); expected "
        "a checkpoint saved by transformers"
    )


def _shards(index: Path) -> tuple[Path, ...]:
    table = read_object(index, lenient=True).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise InputError(f"{index} has no weight_map")
    names = sorted(set(map(str, table.values())))
    for name in names:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise InputError(f"{index} names {name!r}, which is not a file next to it")
    return tuple(index.parent / name for name in names)
