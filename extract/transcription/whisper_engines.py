"""Whisper through transformers, or through faster-whisper; one clip at a time.

Greedy decoding, so that one clip has one transcript. Whisper writes sentences into silence; the
rule against it is the paper's: nothing was said where the first token says "no speech" with more
than 0.6 and the words are unlikely, with a mean log-probability below -1.

Radford et al.: Robust speech recognition via large-scale weak supervision. ICML 2023, section 4.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...cache.commands.terminal import HIDDEN
from ...cache.errors import InputError
from ..encoders.checkpoints.reading import quiet_transformers
from ..encoders.hardware.device import find_device
from ..inputs.words import words

SAMPLING_RATE = 16_000  # Hz
NO_SPEECH = 0.6
UNLIKELY = -1.0
WINDOW = 30  # seconds that Whisper takes at once
LOOPS = (20, 8)  # repeats of a word, or of a phrase, that are not speech
LONGEST_PHRASE = 24  # words, or characters of Chinese and Japanese


@dataclass(frozen=True, slots=True)
class Transcript:
    """The transcript of a clip.

    Attributes
    ----------
    text : str
        Blank if nothing was said.
    language : str
        Whisper's code; as given, or as detected.
    reason : str
        Why `text` is blank: ``"silent"``, ``"too_short"``, ``"no_speech"``, ``"empty"``.
    no_speech : float or None
        Probability of no speech, where the engine says it.
    likely : float or None
        Mean log-probability of the tokens.
    """

    text: str
    language: str = ""
    reason: str = ""
    no_speech: float | None = None
    likely: float | None = None


class Engine(Protocol):
    """Transcribes one clip."""

    def __call__(self, samples: np.ndarray, language: str | None) -> Transcript:
        """Transcribe ``(samples,)`` float32 at 16 kHz; `language` is Whisper's code or None."""
        ...


def judged(transcript: Transcript) -> Transcript:
    """Blank a text in which nothing is said.

    Examples
    --------
    >>> judged(Transcript(" Thank you. ", no_speech=0.9, likely=-1.4)).reason
    'no_speech'
    >>> judged(Transcript(" Hola. ", no_speech=0.9, likely=-0.3)).text
    'Hola.'
    >>> judged(Transcript(" ... ")).reason
    'empty'
    """
    text, reason = transcript.text.strip(), transcript.reason
    silence = transcript.no_speech is not None and transcript.no_speech > NO_SPEECH
    if silence and transcript.likely is not None and transcript.likely < UNLIKELY:
        reason = "no_speech"
    elif not any(character.isalnum() for character in text):
        reason = reason or "empty"
    return replace(transcript, text="" if reason else text, reason=reason)


def oddity(text: str) -> str:
    r"""Return why a text cannot have been spoken, or nothing.

    ``"garbled"``: control characters, or bytes that are not text. ``"repeats"``: more than half of
    it is one phrase that comes eight times in a row, or one word that comes twenty times, as
    Whisper writes where it loops. ``"empty"``: neither a letter nor a digit.

    Examples
    --------
    >>> oddity("Thank you. " * 8), oddity("no, no, no, no!"), oddity("a\x00b"), oddity(" ... ")
    ('repeats', '', 'garbled', 'empty')
    """
    if HIDDEN.search(text) or "\ufffd" in text:
        return "garbled"
    if not any(character.isalnum() for character in text):
        return "empty"
    said = [word for word in words(text) if word[0].isalnum()]
    for size in range(1, LONGEST_PHRASE + 1):
        same = 0  # words in a row that are equal to the one `size` before
        for start, (before, word) in enumerate(zip(said, said[size:], strict=False), 1):
            same = same + 1 if word == before else 0
            times = LOOPS[len({*said[start : start + size]}) > 1]
            if same >= (times - 1) * size and 2 * (same + size) > len(said):
                return "repeats"
    return ""


class Whisper:
    """Whisper as transformers has it.

    Parameters
    ----------
    folder : pathlib.Path
        A whole checkpoint.
    device : str
        ``"auto"`` takes CUDA if there is one.
    dtype : str
        To compute in.
    """

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        import torch
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        device = find_device(device)
        self.processor: Any = WhisperProcessor.from_pretrained(folder, local_files_only=True)
        with quiet_transformers():
            loaded: Any = WhisperForConditionalGeneration.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        model, info = loaded
        wrong = sorted({*info["missing_keys"], *map(str, info["mismatched_keys"])})
        if wrong:
            raise InputError(
                f"{folder} is not a complete Whisper model; missing: {', '.join(wrong[:8])}"
            )
        self.model: Any = model.eval().requires_grad_(False).to(device)
        self.many_languages = bool(getattr(model.generation_config, "is_multilingual", False))

    def __call__(self, samples: np.ndarray, language: str | None) -> Transcript:
        """Transcribe one clip."""
        import torch

        long = len(samples) > WINDOW * SAMPLING_RATE
        made = self.processor.feature_extractor(
            samples,
            sampling_rate=SAMPLING_RATE,
            return_tensors="pt",
            return_attention_mask=True,
            **({"truncation": False, "padding": "longest"} if long else {}),
        )
        features = made.input_features.to(self.model.device, self.model.dtype)
        mask = made.attention_mask.to(self.model.device)
        with torch.inference_mode(), quiet_transformers():
            spoken = self._language(features, language)
            options: dict[str, Any] = {"num_beams": 1, "do_sample": False, "temperature": 0.0}
            if self.many_languages:
                options |= {"language": spoken, "task": "transcribe"}
            if long:
                options |= {"return_timestamps": True, "condition_on_prev_tokens": False}
                options |= {"no_speech_threshold": NO_SPEECH, "logprob_threshold": UNLIKELY}
                ids = self.model.generate(features, attention_mask=mask, **options)
                return Transcript(self._text(ids[0]), spoken)
            out = self.model.generate(
                features,
                attention_mask=mask,
                return_dict_in_generate=True,
                output_scores=True,
                **options,
            )
            scores = self.model.compute_transition_scores(
                out.sequences, out.scores, normalize_logits=True
            )
            no_speech = self._no_speech(features)
        return Transcript(
            self._text(out.sequences[0]), spoken, "", no_speech, float(scores[0].mean().cpu())
        )

    def _text(self, ids: Any) -> str:
        return self.processor.tokenizer.decode(ids, skip_special_tokens=True)

    def _language(self, features: Any, language: str | None) -> str:
        if not self.many_languages:
            return "en"
        known = {mark.strip("<|>"): mark for mark in self.model.generation_config.lang_to_id}
        if language is not None:
            if language not in known:
                raise InputError(
                    f"this Whisper does not know the language {language!r}; it knows "
                    f"{', '.join(sorted(known))}"
                )
            return language
        found = self.model.detect_language(features)
        return self.processor.tokenizer.convert_ids_to_tokens(int(found[0])).strip("<|>")

    def _no_speech(self, features: Any) -> float | None:
        """Probability of the mark for no speech as the very first token."""
        import torch

        tokenizer = self.processor.tokenizer
        marks = [
            tokenizer.convert_tokens_to_ids(mark) for mark in ("<|nospeech|>", "<|nocaptions|>")
        ]
        marks = [mark for mark in marks if mark not in (None, tokenizer.unk_token_id)]
        if not marks:
            return None
        start = torch.tensor(
            [[self.model.generation_config.decoder_start_token_id]], device=self.model.device
        )
        logits = self.model(features, decoder_input_ids=start).logits[0, -1].float()
        return float(logits.softmax(-1)[marks[0]].cpu())


class FasterWhisper:
    """Whisper through CTranslate2; needs the extra ``affekt[asr]``.

    Parameters are those of `Whisper`; the folder is a converted model.
    """

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        self.model = faster_whisper().WhisperModel(str(folder), device=device, compute_type=dtype)

    def __call__(self, samples: np.ndarray, language: str | None) -> Transcript:
        """Transcribe one clip."""
        segments, info = self.model.transcribe(
            samples,
            language=language,
            task="transcribe",
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            no_speech_threshold=NO_SPEECH,
            log_prob_threshold=UNLIKELY,
        )
        parts = list(segments)
        if not parts:
            return Transcript("", info.language, "no_speech")
        return Transcript(
            " ".join(part.text.strip() for part in parts),
            info.language,
            "",
            float(np.mean([part.no_speech_prob for part in parts])),
            float(np.mean([part.avg_logprob for part in parts])),
        )


def faster_whisper() -> Any:
    """Return the library, or say which extra brings it."""
    try:
        import faster_whisper  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(
            "the engine faster-whisper is not installed: pip install 'affekt[asr]', or use "
            "`engine='transformers'`"
        ) from error
    return faster_whisper


#: name -> class with (folder, device, dtype)
ENGINES: dict[str, Callable[[Path, str, str], Engine]] = {
    "transformers": Whisper,
    "faster-whisper": FasterWhisper,
}
