"""A synthetic corpus: computed voices and made-up phrases, with emotions to recognise.

Nobody speaks here. A voice is a pulse train through three resonances; an emotion moves its pitch,
energy, rhythm and breath, and mostly also picks a word. Both cues are noisy on purpose, so that
speech and text members err on different clips. It shows that everything runs; it says
nothing about real emotion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....cache.manifest import Manifest

RATE = 16_000  # Hz

#: emotion -> pitch factor, pitch range, gain in dB, tempo, breath
CUES = {
    "anger": (1.22, 1.5, 5.0, 1.12, 0.02),
    "fear": (1.30, 0.7, -2.0, 1.25, 0.25),
    "happiness": (1.25, 1.8, 2.5, 1.08, 0.05),
    "neutral": (1.00, 1.0, 0.0, 1.00, 0.05),
    "sadness": (0.92, 0.5, -5.0, 0.80, 0.15),
}

#: language -> phrase beginnings, and words that go with an emotion
WORDS = {
    "eng": (
        ["the train leaves at", "we will meet on", "she said it was", "they came home for"],
        {
            "anger": ["furious", "insult", "outrage"],
            "fear": ["danger", "terrible", "panic"],
            "happiness": ["wonderful", "delight", "party"],
            "neutral": ["monday", "table", "seven"],
            "sadness": ["lonely", "farewell", "sorrow"],
        },
    ),
    "spa": (
        ["el tren sale a", "nos vemos en", "ella dijo que era", "volvieron a casa por"],
        {
            "anger": ["furioso", "insulto", "rabia"],
            "fear": ["peligro", "terrible", "miedo"],
            "happiness": ["maravilla", "alegria", "fiesta"],
            "neutral": ["lunes", "mesa", "siete"],
            "sadness": ["soledad", "adios", "tristeza"],
        },
    ),
    "deu": (
        ["der zug fährt um", "wir sehen uns am", "sie sagte es war", "sie kamen heim zum"],
        {
            "anger": ["wütend", "frechheit", "empörung"],
            "fear": ["gefahr", "furchtbar", "panik"],
            "happiness": ["wunderbar", "freude", "fest"],
            "neutral": ["montag", "tisch", "sieben"],
            "sadness": ["einsam", "abschied", "kummer"],
        },
    ),
}

#: vowel -> resonances in Hz, for a tract of ordinary length
FORMANTS = {
    "a": (730, 1250, 2500),
    "e": (480, 1950, 2600),
    "i": (300, 2300, 3000),
    "o": (500, 900, 2450),
    "u": (330, 800, 2300),
}
OTHER_VOWELS = {"ä": "e", "ö": "o", "ü": "u", "y": "i"}


@dataclass(frozen=True)
class _Voice:
    pitch: float  # Hz
    tract: float  # factor of the resonances
    language: str


def write_corpus(
    folder: str | Path,
    *,
    voices: int = 24,
    clips_per_voice: int = 15,
    random_state: int = 0,
) -> Path:
    """Write a synthetic corpus: wav files and a manifest.

    Parameters
    ----------
    folder : path
        Receives `clips.csv`, `wav/` and a note on what it is.
    voices : int
        Dealt to three languages in turn.
    clips_per_voice : int
        Dealt to five emotions in turn.
    random_state : int
        One seed, one corpus, byte for byte.

    Returns
    -------
    Path
        The manifest.

    Examples
    --------
    >>> import tempfile
    >>> path = write_corpus(tempfile.mkdtemp(), voices=3, clips_per_voice=5)
    >>> clips = Manifest.read(path)
    >>> len(clips), sorted(set(clips["language"])), set(clips["dataset"])
    (15, ['deu', 'eng', 'spa'], {'synthetic'})
    """
    import soundfile

    folder = Path(folder)
    (folder / "wav").mkdir(parents=True, exist_ok=True)
    (folder / "README.txt").write_text(
        "Synthetic voices and made-up phrases, computed by affekt's demo. Nobody spoke here.\n",
        encoding="utf-8",
    )
    languages, emotions = list(WORDS), list(CUES)
    rows = []
    for number in range(voices):
        rng = np.random.default_rng([random_state, number])
        voice = _Voice(
            pitch=float(rng.uniform(95, 230)),
            tract=float(rng.uniform(0.9, 1.15)),
            language=languages[number % len(languages)],
        )
        for clip in range(clips_per_voice):
            emotion = emotions[clip % len(emotions)]
            text = _phrase(rng, voice.language, emotion)
            name = f"synthetic-{number:02d}-{clip:02d}"
            samples = _say(rng, voice, emotion, text)
            soundfile.write(folder / "wav" / f"{name}.wav", samples, RATE, subtype="PCM_16")
            rows.append(
                {
                    "id": name,
                    "path": f"wav/{name}.wav",
                    "text": text,
                    "label": emotion,
                    "speaker": f"voice-{number:02d}",
                    "language": voice.language,
                    "dataset": "synthetic",
                }
            )
    manifest = folder / "clips.csv"
    Manifest.from_rows(rows, root=folder, source=str(manifest)).write(manifest)
    return manifest


def _phrase(rng: np.random.Generator, language: str, emotion: str) -> str:
    """A beginning and one word, which fits the emotion in most phrases and none in others."""
    beginnings, words = WORDS[language]
    expressed = emotion
    chance = rng.uniform()
    if chance > 0.9:
        expressed = str(rng.choice(list(words)))
    elif chance > 0.65:
        expressed = "neutral"
    return f"{rng.choice(beginnings)} {rng.choice(words[expressed])}"


def _say(rng: np.random.Generator, voice: _Voice, emotion: str, text: str) -> np.ndarray:
    """Return the samples of a phrase, float32 at 16 kHz."""
    factor, spread, gain, tempo, breath = CUES[emotion]
    # no speaker shows an emotion twice in the same way
    factor *= float(np.exp(rng.normal(0, 0.12)))
    spread *= float(np.exp(rng.normal(0, 0.35)))
    gain += float(rng.normal(0, 3.0))
    tempo *= float(np.exp(rng.normal(0, 0.10)))
    vowels = [OTHER_VOWELS.get(c, c) for c in text if OTHER_VOWELS.get(c, c) in FORMANTS]
    seconds = [float(rng.uniform(0.09, 0.15)) / tempo for _ in vowels]
    pieces = []
    pitch = voice.pitch * factor
    walk = 0.0
    for place, (vowel, length) in enumerate(zip(vowels, seconds, strict=True)):
        walk = 0.6 * walk + float(rng.normal(0, 0.06 * spread))
        falling = 1 - 0.12 * spread * place / len(vowels)
        pieces.append(_vowel(rng, pitch * falling * np.exp(walk), voice, vowel, length, breath))
        pieces.append(np.zeros(int(RATE * float(rng.uniform(0.02, 0.05)) / tempo)))
    samples = np.concatenate([np.zeros(800), *pieces, np.zeros(800)])
    samples *= 0.08 * 10 ** (gain / 20) / np.sqrt(np.mean(samples**2))
    samples += rng.normal(0, 0.0008, len(samples))  # room noise
    return np.clip(samples, -1, 1).astype(np.float32)


def _vowel(
    rng: np.random.Generator,
    pitch: float,
    voice: _Voice,
    vowel: str,
    seconds: float,
    breath: float,
) -> np.ndarray:
    """Filter pulses and noise through the resonances of one vowel."""
    from scipy.signal import lfilter

    count = int(RATE * seconds)
    jitter = np.cumsum(rng.normal(0, 0.002, count))
    phase = np.cumsum(pitch * (1 + jitter) / RATE)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    signal = lfilter([1.0], [1.0, -0.95], pulses + breath * rng.normal(0, 0.3, count))
    for resonance, width in zip(FORMANTS[vowel], (80, 110, 160), strict=True):
        signal = _resonate(signal, resonance * voice.tract, width)
    rise = np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.2 * count)
    return np.asarray(signal) * np.minimum(rise, 1)


def _resonate(signal: Sequence[float] | np.ndarray, frequency: float, width: float) -> np.ndarray:
    """One resonance in Hz with its bandwidth in Hz: a filter of two poles."""
    from scipy.signal import lfilter

    radius = np.exp(-np.pi * width / RATE)
    poles = [1.0, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2]
    return np.asarray(lfilter([sum(poles)], poles, signal))
