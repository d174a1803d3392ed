"""Something that predicts: a model, or a run with the ensemble that dev chose.

Both answer for clips in a cache and for raw audio and text, through the same features.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cache.cache import Cache
from ..cache.errors import InputError, listed, nearest
from ..cache.manifest import Manifest
from .model import Model
from .predictions import Predictions

if TYPE_CHECKING:
    from .replay import Replay

__all__ = ["Answer", "System", "open_system"]


@dataclass(frozen=True)
class Answer:
    """Predictions, and the clips that have none.

    Attributes
    ----------
    predictions : Predictions or None
        None if no clip could be embedded.
    failed : dict of str to str
        Id -> reason code.
    """

    predictions: Predictions | None
    failed: dict[str, str]


@dataclass(frozen=True)
class System:
    """Models, and how their answers become one.

    Attributes
    ----------
    name : str
    models : dict of str to Model
    replay : Replay or None
        The fitted ensemble; None for one model.
    """

    name: str
    models: dict[str, Model]
    replay: Replay | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in task order."""
        return next(iter(self.models.values())).task.labels

    def predict(
        self,
        clips: Manifest,
        cache: Cache,
        *,
        encoders: Sequence[str | os.PathLike[str]] = (),
        device: str = "auto",
        progress: bool | None = False,
    ) -> Answer:
        """Embed what is missing and predict.

        Parameters
        ----------
        clips : Manifest
        cache : Cache
            Receives the embeddings.
        encoders, device, progress
            As for `embed_needs`.

        Returns
        -------
        Answer
        """
        from .raw import embed_needs, unusable

        failed: dict[str, str] = {}
        for model in self.models.values():
            answers = embed_needs(
                model.needs,
                clips,
                cache,
                canaries=model.canaries,
                encoders=encoders,
                device=device,
                progress=progress,
            )
            failed |= unusable(model, answers)
        kept = clips.select([i for i in clips.ids if i not in failed])
        if not len(kept):
            return Answer(None, failed)
        members = {name: model.predict(kept, cache) for name, model in self.models.items()}
        if self.replay is None:
            return Answer(next(iter(members.values())), failed)
        return Answer(self.replay.combine(members), failed)

    def __call__(
        self,
        inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        *,
        text: str | None = None,
        top: int | None = None,
        encoders: Sequence[str | os.PathLike[str]] = (),
        device: str = "auto",
    ) -> list[Any]:
        """Answer for audio files (or a text) as a transformers pipeline does.

        Parameters
        ----------
        inputs : path or list of path
        text : str, optional
            What is said in the one file, or alone.
        top : int, optional
            Only the most probable labels.
        encoders, device
            As for `predict`.

        Returns
        -------
        list
            ``[{"label": ..., "score": ...}, ...]``, the most probable first; a list of such lists
            for a list of files.

        Raises
        ------
        InputError
            A file that cannot be embedded; with its reason code.
        """
        import tempfile

        from .raw import raw_clips

        one = isinstance(inputs, str | os.PathLike) or not inputs
        clips = raw_clips([inputs] if isinstance(inputs, str | os.PathLike) else inputs, text=text)
        with tempfile.TemporaryDirectory() as place:
            answer = self.predict(clips, Cache(Path(place) / "c"), encoders=encoders, device=device)
        if answer.failed or answer.predictions is None:
            told = listed([f"{name} ({code})" for name, code in answer.failed.items()])
            raise InputError(f"{len(answer.failed)} of {len(clips)} cannot be embedded: {told}")
        ranked = []
        for _, _, proba in answer.predictions:
            order = sorted(range(len(proba)), key=lambda k: (-proba[k], k))[:top]
            ranked.append([{"label": self.labels[k], "score": float(proba[k])} for k in order])
        return ranked[0] if one else ranked


def open_system(place: str | os.PathLike[str], *, system: str | None = None) -> System:
    """Open a model folder, a Hub id, or the folder that a run left.

    Parameters
    ----------
    place : path or str
    system : str, optional
        A member or ensemble of the run; the one that dev chose by default.

    Returns
    -------
    System

    Raises
    ------
    InputError
        Neither a model nor a run; an unknown system; what the run kept of it is not whole.
    """
    folder = Path(place)
    if (folder / "repeats.json").is_file():
        raise InputError(
            f"{folder} holds repeats, each with models of its own; name one of them: "
            f"{folder / 'repeat-1'}"
        )
    if not (folder / "comparison.json").is_file():
        if system is not None:
            raise InputError(f"--system is for the folder of a run; {place} is a model")
        return System(str(place), {str(place): Model.from_pretrained(str(place))})
    data: dict[str, Any] = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    systems = data["systems"]
    chosen = system or data["chosen"]
    if chosen is None:
        raise InputError(
            f"{folder}: nothing was chosen on dev; say which with --system: {', '.join(systems)}"
        )
    if chosen not in systems:
        raise InputError(
            f"{folder} has no system {chosen!r}; expected one of {', '.join(systems)}."
            f"{nearest(chosen, list(systems))}"
        )
    entry = systems[chosen]
    models = {}
    for name in entry["members"]:
        path = folder / "members" / name / "model"
        if not path.is_dir():
            raise InputError(
                f"{path}: no model there; a member of several folds or without a head cannot "
                "predict new clips"
            )
        models[name] = Model.from_pretrained(path)
    if not entry["strategy"]:
        return System(chosen, models)
    from .replay import read_replays

    replays = read_replays(folder)
    if chosen not in replays or set(replays[chosen].members) != set(models):
        raise InputError(f"{folder}: ensembles.json does not hold {chosen!r}; run the recipe again")
    return System(chosen, models, replays[chosen])
