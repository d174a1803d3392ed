"""From a published folder or Hub id to a `Model`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import InputError
from ....extract.encoder import Encoder
from ...data.task import Task
from ..folders.model_folder import versions
from ..model import Model
from ..needs import Needs

if TYPE_CHECKING:
    from ...heads.base import Head
    from ..scalers.plain_scaler import Scaler


@dataclass(frozen=True)
class Part:
    """An encoder, and which of its layers the head reads.

    Attributes
    ----------
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


def assembled(
    head: Head,
    task: Task,
    parts: Sequence[Part],
    *,
    source: Mapping[str, Any],
    scaler: Scaler | None = None,
) -> Published:
    """Put a head and its encoders together as a `Model`."""
    model = Model(head, task, [], scale=scaler is not None)
    model.needs = [part.needs for part in parts]
    width = sum(need.width for need in model.needs)
    if width != head.n_features_in_:
        given = " and ".join(f"{need.spec.name} ({need.width})" for need in model.needs)
        raise InputError(
            f"{source['name']} takes {head.n_features_in_} numbers per clip; the encoder "
            f"{given} gives {width}: name the one it was trained on with `encoders=FOLDER`"
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
    """Open the encoder that was published for it; `of` is what needs it."""
    try:
        return Part(Encoder(place, **options), place)
    except InputError as error:
        raise InputError(
            f"the encoder of {of} is {place}; if you have its folder, name it with "
            f"`encoders=FOLDER`. {error}"
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


def head_of(
    kind: type[Head],
    params: Mapping[str, Any],
    arrays: dict[str, np.ndarray],
    labels: Sequence[str],
    last: str,
    width: int,
) -> Any:
    """Return a head with these weights; its `last` layer has a row for each of the labels."""
    from ...heads.state import pack_labels

    order = np.argsort(np.array(labels))  # a head keeps its classes sorted
    for part in (f"{last}.weight", f"{last}.bias"):
        arrays[part] = arrays[part][order]
    meta = {
        "head": kind.name,
        "format": 1,
        "params": params,
        "targets": pack_labels(np.array(labels)[order]),
        "n_features_in": width,
        "learnt": {"members": 1},
    }
    return kind.from_state(meta, arrays)
