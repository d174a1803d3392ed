"""Transcribe the clips of a manifest that have audio and no text.

Each content is transcribed once: answers are kept in the cache by content and transcriber (model,
commit, language, rules), and a text that was given is never overwritten unless asked for. The
manifest that comes back says for each text where it is from.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...cache.errors import InputError
from ...cache.identity.content_digests import segment_digest
from ...cache.manifest import Manifest
from ...cache.rows.cache_folder import Store
from ..errors import Unusable
from ..inputs.audio_files import ClipReader
from ..inputs.isolated_decoder import Decoder
from ..running.feed import by_file
from .transcriber import SAMPLING_RATE, Transcriber, whisper_code
from .whisper_engines import Transcript, oddity

CLIPS, SECONDS = 64, 60.0  # a segment is stored after this many clips, or this long
LONGEST = 3600.0  # seconds of a clip, as of a recording that `affekt serve` takes


@dataclass(frozen=True)
class Transcription:
    """What `transcribe` did.

    Attributes
    ----------
    clips : Manifest
        With `text` filled in, and the columns ``text_source`` (``given``, ``asr`` or blank),
        ``asr`` (the transcriber), ``asr_language`` and ``asr_reason`` (why a text is blank).
    counts : dict of str to int
        ``given``, ``stored``, ``heard``, ``blank``, ``failed``, ``no_audio``.
    failed : dict of str to str
        id -> reason code and message of a clip that could not be read.
    """

    clips: Manifest
    counts: Mapping[str, int]
    failed: Mapping[str, str] = field(default_factory=dict)


def transcribe(
    clips: Manifest,
    cache: str | os.PathLike[str],
    transcriber: Transcriber,
    *,
    per_language: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, float], None] | None = None,
) -> Transcription:
    """Fill in the text of the clips that have none.

    Parameters
    ----------
    clips : Manifest
    cache : path
        Folder of a cache; answers are read from and stored in its ``transcripts/``.
    transcriber : Transcriber
    per_language : bool
        Take each clip's language from the manifest's column instead of the transcriber's.
    overwrite : bool
        Transcribe clips that have a text as well; it stays where nothing is recognised.
    progress : callable, optional
        Called with (clips, seconds of audio) after each clip.

    Returns
    -------
    Transcription

    Raises
    ------
    InputError
        `per_language` and a clip without a language, or one that Whisper does not know.
    """
    texts, columns = list(clips["text"]), _Columns(len(clips))
    todo = []
    for position, (text, path) in enumerate(zip(texts, clips["path"], strict=True)):
        if text.strip() and not overwrite:
            columns.set(position, "given", text_source="given")
        elif not path:
            columns.set(position, "no_audio", asr_reason="no_audio" if not text else "")
        else:
            todo.append(position)
    failed: dict[str, str] = {}
    for one, positions in _by_language(clips, todo, transcriber, per_language):
        with _Transcription(one, Path(cache)) as transcription:
            for position, more in by_file(clips, positions):
                try:
                    transcript, stored, seconds = transcription.transcribe(clips, position, more)
                except Unusable as error:
                    failed[clips.ids[position]] = f"{error.code}: {error.message}"
                    given = "given" if texts[position].strip() else ""
                    columns.set(position, "failed", text_source=given, asr_reason=error.code)
                    seconds = 0.0
                else:
                    blank = bool(transcript.reason) or not transcript.text.strip()
                    given = blank and texts[position].strip()  # stays, also with overwrite
                    texts[position] = texts[position] if given else transcript.text
                    columns.set(
                        position,
                        "blank" if blank else "stored" if stored else "heard",
                        text_source="given" if given else "" if blank else "asr",
                        asr=transcription.store.name,
                        asr_language=transcript.language,
                        asr_reason=transcript.reason,
                    )
                if progress is not None:
                    progress(1, seconds)
    return Transcription(
        clips.with_columns(text=texts, **columns.values), dict(columns.counts), failed
    )


class _Transcription:
    """Looks an answer up or makes it, and stores new ones from time to time."""

    def __init__(self, transcriber: Transcriber, cache: Path) -> None:
        self.transcriber = transcriber
        self.place = Store(cache)
        self.store = transcriber.store(cache)
        self.known = self.store.read()
        self.new: dict[str, Transcript] = {}
        self.since = time.monotonic()
        self.files, self.decoder = ClipReader(), Decoder(always=False)

    def __enter__(self) -> _Transcription:
        return self

    def __exit__(self, *_: object) -> None:
        self.decoder.close()
        self.flush()  # also after an error or Ctrl-C: what is done is kept

    def transcribe(
        self, clips: Manifest, position: int, more: bool
    ) -> tuple[Transcript, bool, float]:
        clip = clips.clip(position)
        file = self.files.read(clips, position, more=more)
        digest = segment_digest(file.digest, clip.start, clip.end)
        if digest in self.known:
            return _plausible(self.known[digest]), True, 0.0
        self.place.check_writable()  # before the model is loaded
        segments = [(clip.start, clip.end)]
        rules = {"damage": self.transcriber.damage, "max_seconds": LONGEST}
        [signal] = self.decoder(file.data, segments, SAMPLING_RATE, more=more, **rules)
        if isinstance(signal, Unusable):
            if signal.code == "too_long":
                hint = "cut it into segments (start, end)"
                raise Unusable("too_long", f"over {LONGEST:g} s, the limit of a clip: {hint}")
            raise signal
        transcript = self.transcriber.transcribe_signal(signal)
        self.known[digest] = self.new[digest] = transcript
        if len(self.new) >= CLIPS or time.monotonic() - self.since > SECONDS:
            self.flush()
        return _plausible(transcript), False, signal.seconds

    def flush(self) -> None:
        self.store.add(self.new)
        self.new, self.since = {}, time.monotonic()


def _plausible(transcript: Transcript) -> Transcript:
    """Leave an odd answer out; it is stored all the same, so as not to be computed again."""
    why = transcript.reason or oddity(transcript.text)
    return dataclasses.replace(transcript, text="", reason=why) if why else transcript


class _Columns:
    """The columns that say where a text is from, and how often what happened."""

    def __init__(self, rows: int) -> None:
        names = ("text_source", "asr", "asr_language", "asr_reason")
        self.values: dict[str, list[str]] = {name: [""] * rows for name in names}
        self.counts: Counter[str] = Counter()

    def set(self, position: int, what: str, **values: str) -> None:
        self.counts[what] += 1
        for name, value in values.items():
            self.values[name][position] = value


def _by_language(
    clips: Manifest, positions: Sequence[int], transcriber: Transcriber, per_language: bool
) -> Iterator[tuple[Transcriber, list[int]]]:
    if not per_language:
        yield transcriber, list(positions)
        return
    groups: dict[str, list[int]] = {}
    for position in positions:
        language = clips["language"][position]
        if not language:
            raise InputError(
                f"{clips.place(position)}: no language; fill in the column, or give one"
            )
        groups.setdefault(whisper_code(language), []).append(position)
    for language, members in groups.items():
        yield transcriber.for_language(language), members
