"""Clips whose text is missing where a model reads text: warn, or transcribe with Whisper."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...cache.cache import Cache
    from ...cache.manifest import Manifest
    from ..models.new_clips.system import System


def with_text(
    system: System,
    clips: Manifest,
    cache: Cache,
    *,
    transcribe: bool,
    whisper: str | None = None,
    language: str | None = None,
    device: str = "auto",
    progress: Callable[[str], None],
) -> Manifest:
    """Return the clips, with missing texts transcribed by Whisper where `transcribe` is set.

    Parameters
    ----------
    system : System
        What will read them; if none of its models reads text, nothing is done but a note printed.
    cache : Cache
        Keeps the transcripts.
    transcribe : bool
        Without it the clips stay as they are, and `progress` gets a line on how to get texts.
    whisper : str, optional
        Folder or Hub id.
    language : str, optional
        ISO 639-3; ``"column"`` takes each clip's own; detected if left out.
    progress : callable
        Called with each message.

    Returns
    -------
    Manifest
        With the columns that `affekt transcribe` writes where something was transcribed.
    """
    reads = any(
        need.spec.modality == "text" for model in system.models.values() for need in model.needs
    )
    lacking = [clip.id for clip in clips if clip.path and not clip.text.strip()]
    if transcribe and not reads:
        progress("--transcribe: the model does not use text, so nothing is transcribed")
    if not reads or not lacking:
        return clips
    if not transcribe:
        progress(
            f"{len(lacking)} of {len(clips)} clips have no text, which the model needs; give a "
            "table with a column text, or --text, or have Whisper write it with --transcribe"
        )
        return clips
    from ...extract.transcription.fill_in_texts import transcribe as fill_in
    from ...extract.transcription.transcriber import DEFAULT_MODEL, Transcriber

    own = language == "column"
    transcriber = Transcriber(
        whisper or DEFAULT_MODEL, language=None if own else language, device=device
    )
    done = fill_in(clips, cache.path, transcriber, per_language=own)
    counts = ", ".join(f"{count} {what}" for what, count in done.counts.items())
    progress(f"transcribed with {whisper or DEFAULT_MODEL}: {counts}")
    return done.clips


def transcribed(clips: Manifest) -> dict[str, dict[str, Any]]:
    """Return id -> text and transcriber, of the clips whose text was transcribed.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> transcribed(Manifest.from_rows([{"id": "a", "text": "hola"}]))
    {}
    """
    if "asr" not in clips:
        return {}
    return {
        clip.id: {"text": clip.text, "text_source": source, "asr": asr, "asr_reason": reason}
        for clip, source, asr, reason in zip(
            clips, clips["text_source"], clips["asr"], clips["asr_reason"], strict=True
        )
        if asr or reason
    }
