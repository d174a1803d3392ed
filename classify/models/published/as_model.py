"""From a folder or Hub id that somebody else published to a `Model`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import InputError
from ....extract.encoder import Encoder
from ...data.task import Task
from ..folders.record import versions
from ..folders.restore import looks_like_an_id
from ..model import Model
from ..needs import Needs
from .tensors import tensor_shapes, with_weights

if TYPE_CHECKING:
    from ...heads.base import Head
    from ..scalers.plain_scaler import Scaler

__all__ = ["Part", "Published", "assembled", "published"]

OWNERS = ("UMUTeam", "vocametrix")  # whose Hub ids `affekt predict` takes without an import


@dataclass(frozen=True)
class Part:
    """An encoder, and which of its layers the head reads.

    Attributes
    ----------
    encoder : Encoder
    place : str
        Folder or Hub id that opens it again.
    all_layers : bool
        Every layer, side by side; otherwise the last one.
    """

    encoder: Encoder
    place: str
    all_layers: bool = False

    @property
    def needs(self) -> Needs:
        """As a model's record has it."""
        spec = self.encoder.spec
        last = spec.n_layers - 1
        return Needs(spec, tuple(range(spec.n_layers)) if self.all_layers else (last,), "concat")


@dataclass(frozen=True)
class Published:
    """A published checkpoint as a model.

    Attributes
    ----------
    model : Model
        Not trained here; predicts, and can be saved.
    parts : tuple of Part
        One for each of the model's features.
    """

    model: Model
    parts: tuple[Part, ...]

    def take_canaries(self) -> None:
        """Load the encoders and note their answers to fixed inputs, as training does."""
        self.model.canaries = [part.encoder.canary() for part in self.parts]


def published(
    place: str | os.PathLike[str],
    *,
    encoders: Sequence[str | os.PathLike[str]] = (),
    device: str = "auto",
    any_id: bool = False,
    revision: str | None = None,
    **said: Any,
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
    **said
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
        raise InputError(f"revision={revision!r} was given with {place}, which is a folder")
    kind = _kind(folder)
    if not kind:
        return None
    given = {word: value for word, value in said.items() if value is not None}
    if kind == "valence":
        _refuse(given, ("mode",), "the valence head has no modes")
        from .valence import valence_parts

        return valence_parts(place, encoders=encoders, device=device, revision=revision, **given)
    _refuse(
        given,
        sorted(given.keys() - {"mode", "labels"}),
        "belongs to the Vocametrix valence head; this is a fine-tuned classifier",
    )
    from .finetuned import classifier_parts

    return classifier_parts(
        str(place), folder, encoders=encoders, device=device, revision=revision, **given
    )


def assembled(
    head: Head,
    task: Task,
    parts: Sequence[Part],
    *,
    source: Mapping[str, Any],
    scaler: Scaler | None = None,
) -> Published:
    """Put a head and its encoders together as a `Model`.

    Raises
    ------
    InputError
        The encoders give another number of features than the head takes.
    """
    model = Model(head, task, [], scale=scaler is not None)
    model.needs = [part.needs for part in parts]
    width = sum(need.width for need in model.needs)
    if width != head.n_features_in_:
        given = " and ".join(f"{need.spec.name} ({need.width})" for need in model.needs)
        raise InputError(
            f"{source['name']} takes {head.n_features_in_} numbers per clip; the encoder "
            f"{given} gives {width}: name the one it was trained on with --encoder (encoders=)"
        )
    model.head_ = head
    if scaler is not None:
        model.scaling.mean, model.scaling.deviation = scaler.mean, scaler.scale
    model.canaries = [None] * len(parts)
    model.encoder_folders = {
        part.encoder.spec.key: Path(part.place).expanduser().resolve()
        for part in parts
        if Path(part.place).expanduser().is_dir()
    }
    model.record = {"published": dict(source), "versions": versions()}
    return Published(model, tuple(parts))


def default_part(place: str, of: str, **options: Any) -> Part:
    """Open the encoder that was published for it; `of` says what needs it.

    Raises
    ------
    InputError
        It is not on this machine and cannot be downloaded; the message says how to name a folder.
    """
    try:
        return Part(Encoder(place, **options), place)
    except InputError as error:
        raise InputError(
            f"the encoder of {of} is {place}; if you have its folder, name it with --encoder "
            f"FOLDER (encoders=). {error}"
        ) from error


def task_of(labels: Sequence[str], name: str) -> Task:
    """Return the shipped task that has exactly these labels, else a task of its own.

    Examples
    --------
    >>> task_of(("anger", "disgust", "fear", "joy", "neutral", "sadness"), "x").name
    'emotion6'
    """
    for shipped in ("valence-vocametrix", "emotion6", "emotion7"):
        task = Task.named(shipped)
        if task.labels == tuple(labels):
            return task
    return Task.from_labels(labels, name=name)


def in_class_order(labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels as a head keeps them, sorted, and where each stood."""
    order = np.argsort(np.array(labels))
    return np.array([labels[i] for i in order]), order


def _kind(folder: Path) -> str:
    """Say what a folder holds: "valence", "classifier", or "" for anything else."""
    config: Any = {}
    if (folder / "config.json").is_file():
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            return ""
    if not isinstance(config, dict) or "format" in config:
        return ""
    from .finetuned import HEADS

    weights = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
    if config.get("model_type") in HEADS:
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


def _refuse(said: Mapping[str, Any], words: Sequence[str], why: str) -> None:
    if found := [f"--{word.replace('_', '-')}" for word in words if word in said]:
        raise InputError(f"{', '.join(found)}: {why}; leave it out")
