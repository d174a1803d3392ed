"""Something that predicts: a model, or a run with the ensemble that dev chose.

Both answer for clips in a cache and for raw audio and text, through the same features.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ....cache.cache import Cache
from ....cache.errors import InputError, listed
from ....cache.manifest import Manifest
from ...data.predictions import Predictions
from ..read_features import accepts_missing_side
from .answer import OUTSIDE, UNLIKE, Answer, joined
from .modalities_seen import Reason, Side, Trained, one_sided, reason_text, unusable

if TYPE_CHECKING:
    from ....cache.identity.spec import Spec
    from ...data.task import Task
    from .in_memory import Decode
    from .new_clip import RawClip
    from .open_encoders import OpenEncoders

CHUNK = 512  # clips whose embeddings are in memory at a time


def _no_encoders() -> OpenEncoders:
    from .open_encoders import OpenEncoders  # imports the decoders of extract

    return OpenEncoders()


class Combines(Protocol):
    """A fitted ensemble, as `affekt.classify.ensembles.saved.Replay` is."""

    combine: Callable[[Mapping[str, Predictions]], Predictions]


def mean_of(found: Sequence[Predictions]) -> Predictions:
    """Return the mean of the probabilities (or numbers) of several models for the same clips."""
    if len(found) == 1:
        return found[0]
    mean = np.mean([one.proba for one in found], axis=0)
    return type(found[0])(found[0].ids, found[0].labels, mean)


@dataclass(frozen=True)
class System:
    """Models, and how their answers become one.

    Attributes
    ----------
    name : str
    models : dict of str to Model
    replay : Combines or None
        The fitted ensemble; None for one model.
    why : str
        Why a run chose it where another system was best on dev.
    folds : dict of str to list of Model
        Of a member of several folds, which answers with the mean of their models: all of them. They
        may read different layers; `models` has the first.
    opened : OpenEncoders
        The encoders that `answer` has opened; see `close`.
    """

    name: str
    models: Mapping[str, Trained]
    replay: Combines | None = None
    why: str = ""
    folds: Mapping[str, Sequence[Trained]] = field(default_factory=dict)
    opened: OpenEncoders = field(default_factory=_no_encoders, repr=False, compare=False)
    _heads: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def task(self) -> Task:
        """The task of its models."""
        return next(iter(self.models.values())).task

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in task order."""
        return self.task.labels

    def specs(self) -> list[Spec]:
        """Return the specs of the encoders that it needs."""
        return [need.spec for model in self.models.values() for need in model.needs]

    @property
    def is_numeric(self) -> bool:
        """Whether it predicts numbers on scales, and no labels."""
        return self.task.kind != "labels"

    def predict(
        self,
        clips: Manifest,
        cache: Cache,
        *,
        encoders: Sequence[str | os.PathLike[str]] = (),
        device: str = "auto",
        damage: str | None = None,
        progress: bool | None = False,
    ) -> Answer:
        """Embed what is missing and predict.

        Parameters
        ----------
        clips : Manifest
        cache : Cache
            Receives the embeddings.
        encoders, device, damage, progress
            As for `embed_needs`.

        Returns
        -------
        Answer
        """
        from .own_encoders import embed_needs

        if not len(clips):
            return Answer(None, {})
        for model in self.models.values():
            model.scaling.check_named(clips)
        options: Any = {
            "encoders": encoders, "device": device, "damage": damage, "progress": progress
        }  # fmt: skip
        found = {
            name: embed_needs(model, clips, cache, **options) for name, model in self.models.items()
        }

        def ask(model: Trained, ids: list[str]) -> Predictions:
            return model.predict(clips.select(ids), cache)

        return self._answered(clips.ids, found, ask)

    def answer(
        self,
        clips: Sequence[RawClip],
        *,
        encoders: Sequence[str | os.PathLike[str]] = (),
        device: str = "auto",
        decode: Decode | None = None,
    ) -> Answer:
        """Predict clips in memory, through encoders that stay open for the next call.

        May be called from several threads. Nothing is written to disk.

        Parameters
        ----------
        clips : sequence of RawClip
            With different ids.
        encoders, device
            As for `predict`.
        decode : callable, optional
            A `Decoder`, which decodes in a process of its own; in this one by default.

        Returns
        -------
        Answer
            One bad clip is one failure in it.

        Raises
        ------
        InputError
            An id that comes twice; an encoder that is not there.
        SpecError, CanaryError
            The encoder computes differently.
        """
        twice = [name for name, count in Counter(one.id for one in clips).items() if count > 1]
        if twice:
            raise InputError(f"ids appear twice: {listed(twice)}; expected each id once")
        if not clips:
            return Answer(None, {})
        # within a speaker, language or corpus features are scaled by all of its clips
        whole = any(isinstance(model.scaling.scale, str) for model in self.models.values())
        size = len(clips) if whole else CHUNK
        parts = [clips[start : start + size] for start in range(0, len(clips), size)]
        return joined([self._answer(part, encoders, device, decode) for part in parts])

    def _answer(
        self,
        clips: Sequence[RawClip],
        encoders: Sequence[str | os.PathLike[str]],
        device: str,
        decode: Decode | None,
    ) -> Answer:
        from .in_memory import embed, side_by_side

        embedded: dict[str, Side] = {}
        for model in self.models.values():
            for need, canary in zip(model.needs, model.canaries, strict=True):
                encoder = self.opened.get(
                    need.spec,
                    canary,
                    places=encoders,
                    noted=model.encoder_folders.get(need.spec.key),
                    device=device,
                )
                if need.spec.key not in embedded:
                    embedded[need.spec.key] = embed(clips, encoder, need.spec, decode)
        found = {
            name: [embedded[need.spec.key] for need in model.needs]
            for name, model in self.models.items()
        }

        def ask(model: Trained, ids: list[str]) -> Predictions:
            gaps = accepts_missing_side(model.head_)
            values = side_by_side(ids, model.needs, embedded, gaps=gaps)
            with self._heads:
                return model.predict_features(ids, values, columns)

        columns = {one.id: one.columns for one in clips}
        return self._answered([one.id for one in clips], found, ask)

    def close(self) -> None:
        """Release the encoders that `answer` keeps open."""
        self.opened.close()

    def __enter__(self) -> System:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _answered(
        self,
        ids: Sequence[str],
        sides: Mapping[str, list[Side]],
        ask: Callable[[Trained, list[str]], Predictions],
    ) -> Answer:
        """Predict the clips that all models can predict, and combine."""
        failed: dict[str, Reason] = {}
        alone: dict[str, str] = {}
        flags: dict[str, list[str]] = {}
        for name, model in self.models.items():
            failed |= unusable(model, sides[name])
            alone |= one_sided(model, sides[name])
            for flag, marked in (item for side in sides[name] for item in side.flags.items()):
                flags[flag] = list(dict.fromkeys([*flags.get(flag, ()), *marked]))
        kept = [name for name in ids if name not in failed]
        predictions: Predictions | None = None
        members: dict[str, Predictions] = {}
        if kept:
            for name, model in self.models.items():
                models = self.folds.get(name, [model])
                found = [ask(one, kept) for one in models]
                members[name] = mean_of(found)
                if far := {clip for one in found for clip in one.unlike_training}:
                    far |= set(flags.get(UNLIKE, ()))
                    flags[UNLIKE] = [clip for clip in kept if clip in far]
            single = next(iter(members.values()))
            predictions = single if self.replay is None else self.replay.combine(members)
            outside = np.flatnonzero(self.task.far_outside(predictions.proba))
            if len(outside):
                flags[OUTSIDE] = [predictions.ids[row] for row in outside]
        return Answer(
            predictions,
            {name: code for name, (code, _) in failed.items()},
            {name: reason_text(reason) for name, reason in failed.items()},
            {name: remark for name, remark in alone.items() if name not in failed},
            flags,
            members,
            [
                f"{name}: the mean of {len(models)} models, one from each fold"
                for name, models in self.folds.items()
            ],
        )

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
        text : str, optional
            What is said in the one file, or alone.
        top : int, optional
            Only the most probable labels.
        encoders, device
            As for `predict`.

        Returns
        -------
        list
            ``[{"label": ..., "score": ...}, ...]``, the most probable first (of numbers, one for
            each dimension, with ``value``); a list of such lists for a list of files, a folder or
            a manifest.

        Raises
        ------
        InputError
            A file that cannot be embedded; with its reason code. A `top` below 1.
        """
        from .caller_inputs import to_raw
        from .named_inputs import is_table
        from .own_encoders import raw_clips

        if top is not None and top < 1:
            raise InputError(f"`{top=}`; expected 1 or more, or None for every label")
        named = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
        single = isinstance(inputs, str | os.PathLike) or not named
        one = single and not is_table(named) and not any(Path(place).is_dir() for place in named)
        clips = raw_clips(named, text=text)
        answer = self.answer(to_raw(clips), encoders=encoders, device=device)
        ranked = []
        for _, _, proba in answer.complete():
            if self.is_numeric:
                pairs = zip(self.labels, proba.tolist(), strict=True)
                ranked.append([{"label": name, "value": value} for name, value in pairs])
                continue
            order = sorted(range(len(proba)), key=lambda k: (-proba[k], k))[:top]
            ranked.append([{"label": self.labels[k], "score": float(proba[k])} for k in order])
        return ranked[0] if one else ranked
