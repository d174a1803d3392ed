"""A speech recogniser with its rules, and its answer for one clip.

The spec says which model (commit and sha256 of its files), language, decoding and rules for blank
answers decide a transcript; it is known without loading the model.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...cache.errors import InputError, nearest, one_of
from ..inputs.decode import DAMAGE, RULES, Signal
from .transcripts import Transcripts
from .whisper_engines import (
    ENGINES,
    NO_SPEECH,
    SAMPLING_RATE,
    UNLIKELY,
    Engine,
    Transcript,
    faster_whisper,
    judged,
)

DEFAULT_MODEL = "openai/whisper-large-v3-turbo"
SHORTEST = 0.1  # seconds
SILENCE = 1e-4  # root mean square without the mean: -80 dBFS
EPOCH = 1
DTYPES = ("float32", "float16", "bfloat16")  # of the engine transformers


class Transcriber:
    """A speech recogniser with its rules.

    Parameters
    ----------
    name : str
        Folder or Hub id of a Whisper model; with `listen`, any name for it.
    language : str, optional
        ISO 639-3 or Whisper's code; detected per clip if left out.
    revision : str, optional
        Commit, tag or branch on the Hub; resolved once and recorded.
    engine : str
        ``"transformers"`` or ``"faster-whisper"``.
    damage : str
        ``"refuse"`` or ``"accept"``, as for `affekt.extract.Encoder`.
    device, dtype : str
        Where and in what the model computes.
    listen : callable, optional
        Your own recogniser instead: ``(samples, language)`` to `Transcript` or str.

    Examples
    --------
    >>> toy = Transcriber("toy", language="spa", listen=lambda samples, language: " ¡Hola! ")
    >>> toy.transcribe(np.sin(np.arange(8000, dtype=np.float32)))
    Transcript(text='¡Hola!', language='es', reason='', no_speech=None, likely=None)
    >>> toy.transcribe(np.zeros(8000, np.float32)).reason
    'silent'
    """

    def __init__(
        self,
        name: str = DEFAULT_MODEL,
        *,
        language: str | None = None,
        revision: str | None = None,
        engine: str = "transformers",
        device: str = "auto",
        dtype: str = "float32",
        damage: str = "refuse",
        listen: Callable[[np.ndarray, str | None], Transcript | str] | None = None,
    ) -> None:
        one_of(engine, ENGINES, "engine")
        one_of(damage, DAMAGE, "damage")
        if engine == "transformers":
            one_of(dtype, DTYPES, "dtype")
        self.name = name
        self.damage = damage
        self.language = whisper_code(language) if language else None
        self._engine: Engine | None = None
        self._make: Callable[[], Engine]
        self._model: dict[str, Any] = {"custom": name}
        if listen is not None:
            self._make = lambda: _custom(listen)
        else:
            if engine == "faster-whisper":
                faster_whisper()  # an error before a model is fetched
            folder, self._model = _checkpoint(name, revision, engine)
            self._make = lambda: ENGINES[engine](folder, device, dtype)
        self._rules = {
            "format": 1,
            "engine": "custom" if listen is not None else engine,
            "task": "transcribe",
            "decoding": "greedy",
            "dtype": dtype,
            "input": {
                "sampling_rate": SAMPLING_RATE,
                **RULES,
                **({} if damage == "refuse" else {"damage": damage}),
            },
            "blank": {
                "shortest": str(SHORTEST),
                "no_speech": str(NO_SPEECH),
                "unlikely": str(UNLIKELY),
            },
            "epoch": EPOCH,
        }

    @property
    def spec(self) -> dict[str, Any]:
        """Everything that decides a transcript."""
        return {**self._rules, "model": self._model, "language": self.language or "detected"}

    def store(self, cache: str | os.PathLike[str]) -> Transcripts:
        """Return the transcripts of this model and language in a cache folder."""
        stem = self.name.rstrip("/").rsplit("/", 1)[-1]
        return Transcripts(Path(cache), f"{stem}-{self.language or 'auto'}", self.spec)

    def for_language(self, language: str | None) -> Transcriber:
        """Return the same model for another language; its weights are shared."""
        other = object.__new__(Transcriber)
        other.__dict__.update(self.__dict__)
        other.language = whisper_code(language) if language else None
        other._make = self._loaded
        return other

    def transcribe(self, samples: np.ndarray) -> Transcript:
        """Transcribe one clip, ``(samples,)`` float32 at 16 kHz."""
        samples = np.asarray(samples, dtype=np.float32)
        quiet = samples.size == 0 or float(np.std(samples)) < SILENCE
        return self.transcribe_signal(
            Signal(samples, len(samples) / SAMPLING_RATE, ("silent",) if quiet else ())
        )

    def transcribe_signal(self, signal: Signal) -> Transcript:
        """Transcribe one decoded clip; silence and clicks do not reach the model."""
        if signal.seconds < SHORTEST:
            return Transcript("", self.language or "", "too_short")
        if "silent" in signal.flags:
            return Transcript("", self.language or "", "silent")
        transcript = judged(self._loaded()(signal.samples, self.language))
        language = transcript.language or self.language or ""
        return dataclasses.replace(transcript, language=language)

    def _loaded(self) -> Engine:
        if self._engine is None:
            self._engine = self._make()
        return self._engine


def _custom(listen: Callable[[np.ndarray, str | None], Transcript | str]) -> Engine:
    def transcribe(samples: np.ndarray, language: str | None) -> Transcript:
        answer = listen(samples, language)
        return answer if isinstance(answer, Transcript) else Transcript(answer, language or "")

    return transcribe


def _checkpoint(name: str, revision: str | None, engine: str) -> tuple[Path, dict[str, Any]]:
    """Find a Whisper, and say which one it is without loading it."""
    from ..encoders.checkpoints.fingerprint import fingerprint
    from ..hub import SAFE_FILES, locate

    faster = engine == "faster-whisper"  # a CTranslate2 model: model.bin is its own plain format
    allow = [*SAFE_FILES, "model.bin"] if faster else SAFE_FILES
    place = locate(name, revision, allow=allow, what="speech recogniser")
    if not faster and not any(place.folder.glob("model*.safetensors")):
        raise InputError(f"{place.name} holds no model.safetensors; expected a Whisper checkpoint")
    if not faster:
        from ..encoders.checkpoints.checkpoint import find_checkpoint

        if (kind := find_checkpoint(str(place.folder)).model_type) != "whisper":
            raise InputError(f"{place.name} is a {kind!r} model; expected a Whisper model")
    used = [
        path
        for path in sorted(place.folder.iterdir())
        if path.is_file() and any(fnmatch.fnmatchcase(path.name, one) for one in allow)
    ]
    source = {"hub": place.repository, "commit": place.commit} if place.commit else {}
    return place.folder, {**source, "files": {path.name: fingerprint(path) for path in used}}


_PAIRS = """
eng:en zho:zh cmn:zh deu:de spa:es rus:ru kor:ko fra:fr jpn:ja por:pt tur:tr pol:pl cat:ca nld:nl
ara:ar arb:ar swe:sv ita:it ind:id hin:hi fin:fi vie:vi heb:he ukr:uk ell:el msa:ms zsm:ms ces:cs
ron:ro dan:da hun:hu tam:ta nor:no nob:no tha:th urd:ur hrv:hr bul:bg lit:lt lat:la mri:mi mal:ml
cym:cy slk:sk tel:te fas:fa pes:fa lav:lv lvs:lv ben:bn srp:sr aze:az azj:az slv:sl kan:kn est:et
ekk:et mkd:mk bre:br eus:eu isl:is hye:hy nep:ne npi:ne mon:mn khk:mn bos:bs kaz:kk sqi:sq swa:sw
swh:sw glg:gl mar:mr pan:pa sin:si khm:km sna:sn yor:yo som:so afr:af oci:oc kat:ka bel:be tgk:tg
snd:sd guj:gu amh:am yid:yi ydd:yi lao:lo uzb:uz uzn:uz fao:fo hat:ht pus:ps tuk:tk nno:nn mlt:mt
san:sa ltz:lb mya:my bod:bo tgl:tl fil:tl mlg:mg plt:mg asm:as tat:tt haw:haw lin:ln hau:ha bak:ba
jav:jw sun:su yue:yue
"""
_CODES: dict[str, str] = {pair[:3]: pair[4:] for pair in _PAIRS.split()}


def whisper_code(language: str) -> str:
    """Turn a language into Whisper's code for it.

    Parameters
    ----------
    language : str
        ISO 639-3 (``"spa"``) or Whisper's own code (``"es"``).

    Examples
    --------
    >>> whisper_code("spa"), whisper_code("es"), whisper_code("cmn")
    ('es', 'es', 'zh')
    """
    code = language.strip().casefold()
    if code in _CODES:
        return _CODES[code]
    if code in _CODES.values():
        return code
    raise InputError(
        f"language {language!r} is not one that Whisper knows; expected ISO 639-3, such as 'spa'."
        f"{nearest(code, list(_CODES))}"
    )
