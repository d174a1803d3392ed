"""The emotion models of the UMUTeam speech-emotion toolkit, loaded whole, run clip by clip.

Five modes: ``text`` (a fine-tuned text classifier), ``audio``, and three that join audio and text:
``concat``, ``mean``, ``multihead``. The public checkpoints hold a head of their own that the stock
transformers class would replace with random numbers; here every tensor is accounted for by name.

Audio is 16 kHz mono and cut after 160 s (16,000 filterbank frames), as the toolkit does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import AffektError, InputError, one_of
from ....extract.encoders.hardware.device import find_device
from ....extract.errors import Unusable
from .tensors import with_weights
from .umuteam_modes import BERTS, LABELS, MODES, Affine

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ....extract.backend import Backend
    from ...data.predictions import Predictions

SAMPLING_RATE = 16_000  # Hz
SHORTEST = 1_600  # samples
LONGEST = 16_000  # filterbank frames of 10 ms


def load_umuteam(
    model: str | os.PathLike[str],
    mode: str,
    language: str,
    *,
    revision: str | None = None,
    bert: str | None = None,
    device: str | None = None,
) -> Umuteam:
    """Load one of the toolkit's models.

    Parameters
    ----------
    model : str or path
        A folder, or a Hub id such as ``"UMUTeam/w2v-bert-emotion-es"``.
    mode : str
        ``"text"``, ``"audio"``, ``"concat"``, ``"mean"`` or ``"multihead"``. It cannot be seen
        from the file alone: audio and mean hold the same tensors.
    language : str
        ``"es"`` or ``"en"``: the labels, and the default `bert`.
    revision : str, optional
        Commit, tag or branch on the Hub.
    bert : str, optional
        Folder or Hub id of the text side of the joint modes; `BERTS` by default.
    device : str, optional
        As torch spells it; CUDA if there is one, otherwise the CPU.

    Returns
    -------
    Umuteam

    Raises
    ------
    InputError
        Unknown mode, language or device; a tensor that is missing, left over or of another shape;
        labels that contradict the language's.

    Examples
    --------
    >>> load_umuteam("UMUTeam/w2v-bert-emotion-es", "sound", "es")
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: `mode` is 'sound'; expected one of text, audio, concat, ...
    """
    check_mode(mode, language)
    find_device(device)
    place = with_weights(str(model), revision)
    if mode == "text":
        classifier = _text_backend(place.folder, device, classifier=True)
        return Umuteam(mode, tuple(classifier.labels or ()), place.name, text_model=classifier)
    from .umuteam_net import load_speech

    net, extractor, maps = load_speech(place.folder, mode, LABELS[language])
    text_model = None
    if mode != "audio":
        text_model = _text_backend(
            with_weights(bert or BERTS[language]).folder, device, pooling="cls"
        )
        wanted = maps[0].weight.shape[1] - net.config.hidden_size
        if text_model.dim != wanted:
            raise InputError(
                f"the text model gives {text_model.dim} numbers; {place.name} takes {wanted}: "
                f"expected {BERTS[language]} or a model of its size (bert=)"
            )
    return Umuteam(
        *(mode, LABELS[language], place.name),
        text_model=text_model,
        net=net.to(find_device(device)),
        extractor=extractor,
        maps=maps,
    )


@dataclass(eq=False)
class Umuteam:
    """A loaded model; made by `load_umuteam`.

    Attributes
    ----------
    labels : tuple of str
        In the order of the outputs.
    name : str
        Folder, or Hub id and commit.
    """

    mode: str
    labels: tuple[str, ...]
    name: str
    text_model: Backend | None = field(default=None, repr=False)
    net: Any = field(default=None, repr=False)
    extractor: Any = field(default=None, repr=False)
    maps: tuple[Affine, Affine] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.text_model is not None:
            self.text_model.load()

    @property
    def needs(self) -> tuple[str, ...]:
        """``"audio"``, ``"text"`` or both."""
        return {"text": ("text",), "audio": ("audio",)}.get(self.mode, ("audio", "text"))

    def scores(self, samples: np.ndarray | None = None, text: str | None = None) -> np.ndarray:
        """Return the probabilities of one clip.

        Parameters
        ----------
        samples : numpy.ndarray, optional
            ``(samples,)`` float32 at 16 kHz.
        text : str, optional
            What is said.

        Returns
        -------
        numpy.ndarray
            ``(labels,)`` float64, summing to 1.

        Raises
        ------
        InputError
            The mode needs what was not given.
        Unusable
            The clip is too short, or its text is empty.
        """
        if "audio" in self.needs and samples is None:
            raise InputError(f"mode {self.mode!r} needs audio, which was not given")
        words = self._text(text) if "text" in self.needs else np.empty(0)
        if self.maps is None:
            return words / words.sum()
        import torch
        from scipy.special import softmax

        inputs = self._features(np.asarray(samples, dtype=np.float32))
        with torch.inference_mode():
            vectors = self.net(**{key: one.to(self.net.device) for key, one in inputs.items()})
        first, last = self.maps
        features = np.concatenate([vectors[0].double().cpu().numpy(), words])
        proba = softmax(last(np.tanh(first(features))))
        if not np.isfinite(proba).all():
            raise AffektError(f"{self.name} returns NaN; its weights are damaged")
        return proba

    def usable(self, clips: Manifest) -> tuple[Manifest, dict[str, str]]:
        """Leave out the clips without what the mode needs.

        Returns
        -------
        clips : Manifest
        left_out : dict of str to str
            id -> ``"no text"`` or ``"no audio"``.
        """
        column = {"audio": "path", "text": "text"}
        left_out: dict[str, str] = {}
        for what in self.needs:
            for clip, value in zip(clips.ids, clips[column[what]], strict=True):
                if not str(value).strip():
                    left_out.setdefault(clip, f"no {what}")
        return clips.select([clip for clip in clips.ids if clip not in left_out]), left_out

    def predict(self, clips: Manifest) -> Predictions:
        """Predict every clip of a manifest, one by one.

        Raises
        ------
        InputError
            Clips do not have what the mode needs (`usable` leaves them out), or cannot be
            decoded; found before any work where a look at the table is enough.
        """
        from ....extract.inputs.audio_files import ClipReader
        from ....extract.inputs.isolated_decoder import Decoder
        from ....extract.running.feed import by_file
        from ...data.predictions import Predictions

        kept, left_out = self.usable(clips)
        if left_out:
            shown = ", ".join(f"{clip} ({why})" for clip, why in list(left_out.items())[:5])
            raise InputError(
                f"{len(left_out)} of {len(clips)} clips lack what mode {self.mode!r} needs: {shown}"
                ". `affekt transcribe` makes text; usable(clips) leaves them out and counts them"
            )
        rows: list[Any] = [None] * len(kept)
        files = ClipReader()
        with Decoder(always=False) as decoder:
            for position, more in by_file(kept, range(len(kept))):
                clip = kept.clip(position)
                try:
                    samples = None
                    if "audio" in self.needs:
                        data = files.read(kept, position, more=more).data
                        segments = [(clip.start, clip.end)]
                        [decoded] = decoder(data, segments, SAMPLING_RATE, more=more)
                        if isinstance(decoded, Unusable):
                            raise decoded
                        samples = decoded.samples
                    rows[position] = self.scores(samples, clip.text)
                except Unusable as error:
                    raise InputError(f"clip {clip.id!r}: {error.code}: {error.message}") from error
        return Predictions(list(kept.ids), self.labels, np.array(rows), source=self.name)

    def _text(self, text: str | None) -> np.ndarray:
        """Return the [CLS] vector, or in mode text the probabilities, ``(dim,)``."""
        if text is None or self.text_model is None:
            raise InputError(f"mode {self.mode!r} needs a text, which was not given")
        (answer,) = self.text_model.embed([text])
        if isinstance(answer, Unusable):
            raise answer
        return np.asarray(answer.values[-1], dtype=np.float64)

    def _features(self, samples: np.ndarray) -> Mapping[str, Any]:
        if samples.ndim != 1 or len(samples) < SHORTEST:
            raise Unusable("too_short", f"{samples.shape} samples; expected at least {SHORTEST}")
        made = self.extractor(
            samples,
            sampling_rate=SAMPLING_RATE,
            max_length=LONGEST,
            truncation=True,
            return_tensors="pt",
        )
        return {key: made[key] for key in ("input_features", "attention_mask") if key in made}


def check_mode(mode: str, language: str) -> None:
    """Refuse an unknown mode or language.

    Examples
    --------
    >>> check_mode("concat", "es")
    """
    one_of(mode, MODES, "mode")
    one_of(language, LABELS, "language")


def _text_backend(folder: Path, device: str | None, **options: Any) -> Backend:
    from ....extract.encoders import open_backend

    return open_backend(str(folder), modality="text", device=device or "auto", **options)
