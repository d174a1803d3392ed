"""`predict_emotion`: the UMUTeam toolkit's one call, with its arguments and its answer.

It reads the toolkit's ``model.json`` (language -> mode -> model id). Two things differ on purpose:
a model stays loaded between calls, and a checkpoint with a missing tensor is refused instead of
answering from random numbers.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from ....cache.errors import InputError
from ....cache.files.reading import read_object
from ....extract.errors import Unusable
from ..folders.model_folder import LARGEST_CONFIG
from .umuteam import MODES, SAMPLING_RATE, Umuteam, check_mode, load_umuteam

WHISPER = "openai/whisper-large-v3-turbo"
KEPT = 2  # models that stay loaded; the published ones take 2.4 GB each


def predict_emotion(
    audio_path: str | os.PathLike[str] | None = None,
    text: str | None = None,
    model_id: str | None = None,
    mode: str = "text",
    language: str = "es",
    device: Any = None,
    model_config_path: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Predict the emotion of one clip.

    Parameters
    ----------
    audio_path : path, optional
        A recording; needed by every mode but ``text``.
    text : str, optional
        What is said. Mode ``text``, and the joint modes, transcribe the audio with Whisper if it is
        left out; mode ``audio`` ignores it.
    model_id : str, optional
        A folder or Hub id; otherwise the one that ``model.json`` names.
    mode : str
        ``"text"``, ``"audio"``, ``"concat"``, ``"mean"`` or ``"multihead"``.
    language : str
        ``"es"`` or ``"en"``.
    device : str or torch.device, optional
        CUDA if there is one, otherwise the CPU.
    model_config_path : path, optional
        A ``model.json``. Next to the toolkit's modes, a language may name a ``bert`` and a
        ``whisper``.

    Returns
    -------
    dict
        ``top_label`` (str), ``top_score`` (float) and ``scores`` (label -> probability).

    Raises
    ------
    InputError
        (a ValueError) A combination that the mode cannot use, no model named, an unknown mode,
        language or device, a model that is not whole, audio that cannot be read or is too short, a
        blank text.

    Examples
    --------
    >>> predict_emotion(text="¡Qué alegría!", mode="audio")
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: mode='audio' requires an audio_path.
    """
    mode, language = _lower(mode), _lower(language)
    check_mode(mode, language)
    if mode == "text":
        if audio_path is None and text is None:
            raise InputError("For mode='text' you must provide either audio_path or text.")
    elif audio_path is None:
        raise InputError(f"mode={mode!r} requires an audio_path.")
    named = read_model_json(model_config_path).get(language, {}) if model_config_path else {}
    model_id = model_id or named.get(mode)
    if not model_id:
        raise InputError(
            f"no model is named for language {language!r}, mode {mode!r}: give model_id, or "
            "model_config_path with the toolkit's model.json"
        )
    device = str(device) if device else None
    model = _loaded(*_versioned(model_id), mode, language, *_versioned(named.get("bert")), device)
    samples = None
    if "audio" in model.needs or text is None:
        samples = _samples(Path(str(audio_path)))
    if text is None and "text" in model.needs:
        text = _transcribed(named.get("whisper") or WHISPER, language, device, samples)
    try:
        proba = model.scores(samples, text)
    except Unusable as error:
        what = f"text {text!r}" if error.code.endswith("text") else str(audio_path)
        raise InputError(f"{what}: {error.code}: {error.message}") from error
    scores = {label: float(value) for label, value in zip(model.labels, proba, strict=True)}
    top = max(scores, key=lambda label: scores[label])
    return {"top_label": top, "top_score": scores[top], "scores": scores}


def read_model_json(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Read a ``model.json``: language -> mode (or ``bert``, ``whisper``) -> model id.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "model.json")
    >>> _ = path.write_text('{"es": {"audio": "UMUTeam/w2v-bert-emotion-es"}}')
    >>> read_model_json(path)["es"]["audio"]
    'UMUTeam/w2v-bert-emotion-es'
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no file {path}; expected the toolkit's model.json")
    table = read_object(path, largest=LARGEST_CONFIG)
    known = (*MODES, "bert", "whisper")
    for language, models in table.items():
        if not isinstance(models, dict):
            raise InputError(f"{path}: {language!r} holds no modes; expected {', '.join(known)}")
        for mode, name in models.items():
            if mode not in known or not isinstance(name, str):
                raise InputError(
                    f"{path}: {language}.{mode} is {name!r}; expected a model id for one of "
                    f"{', '.join(known)}"
                )
    return table


def _lower(word: Any) -> Any:
    return word.lower() if isinstance(word, str) else word  # anything else is refused as it is


def _versioned(name: str | None) -> tuple[str | None, tuple]:
    """Name a model together with the state of its folder, so that a changed one is loaded again."""
    folder = Path(name).expanduser() if name else None
    if folder is None or not folder.is_dir():
        return name, ()
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return name, tuple((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files)


@lru_cache(maxsize=KEPT)
def _loaded(
    model: str, _: tuple, mode: str, language: str, bert: str | None, __: tuple, device: str | None
) -> Umuteam:
    return load_umuteam(model, mode, language, bert=bert, device=device)


@lru_cache(maxsize=1)
def _transcriber(name: str, language: str, device: str | None) -> Any:
    from ....extract.transcription.transcriber import Transcriber

    return Transcriber(name, language=language, device=device or "auto")


def _transcribed(name: str, language: str, device: str | None, samples: Any) -> str:
    transcript = _transcriber(name, language, device).transcribe(samples)
    if not transcript.text:
        raise InputError(
            f"no speech was found in the audio ({transcript.reason}); give text=, or use "
            "mode='audio'"
        )
    return transcript.text


def _samples(path: Path) -> Any:
    from ....extract.inputs.audio_files import read_file
    from ....extract.inputs.isolated_decoder import Decoder

    try:
        with Decoder(always=False) as decoder:
            [decoded] = decoder(read_file(path).data, [(None, None)], SAMPLING_RATE)
        if isinstance(decoded, Unusable):
            raise decoded
        return decoded.samples
    except Unusable as error:
        raise InputError(f"{path}: {error.code}: {error.message}") from error
