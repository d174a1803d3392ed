"""Compare what affekt decodes with the command ``ffmpeg``, over 558 files that ffmpeg makes.

Formats x rates x channels x headers (written to a file, or to a pipe, which cannot go back and fill
in lengths) x cuts (whole, 99.5 %, 60 %). A file passes where the samples are as many as ffmpeg's
within the codec's delay, or where a flag or a refusal by name says why not. None may be short
without a word.

    python benchmarks/decoding.py [--few] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from affekt.extract import Unusable, decode

SECONDS = 3.0
DELAY = 2400  # samples of delay and padding, in any codec here

#: ending -> (options of ffmpeg, rates, whether it can be written to a pipe)
FORMATS: dict[str, tuple[str, tuple[int, ...], bool]] = {
    "wav": ("-c:a pcm_s16le", (8000, 16000, 44100), True),
    "24.wav": ("-c:a pcm_s24le -f wav", (48000,), True),
    "alaw.wav": ("-c:a pcm_alaw -f wav", (8000,), True),
    "ima.wav": ("-c:a adpcm_ima_wav -f wav", (16000, 22050), True),
    "ms.wav": ("-c:a adpcm_ms -f wav", (16000,), True),
    "mp3.wav": ("-c:a libmp3lame -f wav", (16000, 44100), True),
    "aiff": ("", (16000, 44100), False),
    "au": ("", (8000, 44100), True),
    "caf": ("", (16000, 48000), False),
    "w64": ("", (16000, 48000), False),
    "flac": ("", (16000, 44100), True),
    "mp3": ("", (16000, 22050, 44100), True),
    "vbr.mp3": ("-q:a 4 -f mp3", (16000, 48000), True),
    "mp2": ("", (16000, 48000), True),
    "opus": ("", (16000, 48000), True),
    "ogg": ("-c:a libvorbis", (16000, 44100), True),
    "flac.ogg": ("-c:a flac -f ogg", (16000,), True),
    "m4a": ("", (16000, 44100), False),
    "frag.mp4": ("-c:a aac -movflags frag_keyframe+empty_moov -f mp4", (44100,), True),
    "fast.mp4": ("-c:a aac -movflags +faststart -f mp4", (16000, 44100), False),
    "alac.m4a": ("-c:a alac -f ipod", (44100,), False),
    "mov": ("-c:a aac", (44100,), False),
    "3gp": ("-c:a aac", (16000,), False),
    "aac": ("", (16000, 44100), True),
    "webm": ("-c:a libopus", (48000,), True),
    "mka": ("-c:a aac", (44100,), True),
    "mkv": ("-c:a libvorbis", (16000,), True),
    "wma": ("", (16000, 44100), True),
    "flv": ("-c:a libmp3lame", (22050, 44100), True),
    "wv": ("", (16000, 44100), True),
    "ac3": ("", (48000,), True),
    "tta": ("", (16000,), True),
}


@dataclass
class Result:
    """One file: what ffmpeg counts, what affekt counts or says."""

    name: str
    ffmpeg: int
    affekt: int
    said: str
    verdict: str


def voice(rate: int, channels: int) -> np.ndarray:
    """Return a synthetic voice, (samples, channels)."""
    random = np.random.default_rng(rate + channels)
    t = np.arange(round(SECONDS * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 140 * k * t + k) / k for k in range(1, 10))
    tone = 0.2 * tone * (0.6 + 0.4 * np.sin(8 * np.pi * t))
    return (tone[:, None] + random.normal(0, 0.003, (len(t), channels))).astype(np.float32)


def make(folder: Path, few: bool) -> Iterator[Path]:
    """Write the files."""
    every = itertools.product(enumerate(FORMATS.items()), (1, 2))
    for (number, (ending, (options, rates, pipes))), channels in every:
        if few and channels != 1 + number % 2:
            continue
        for rate in rates[:1] if few else rates:
            source = folder / f"source-{rate}-{channels}.wav"
            if not source.exists():
                soundfile.write(source, voice(rate, channels), rate)
            for way in ("file", "pipe")[: 1 + pipes]:
                whole = folder / f"{rate}-{channels}-{way}-whole.{ending}"
                if few and way == "pipe" and number % 3:
                    continue
                if _encode(source, whole, options, way):
                    yield whole
                    data = whole.read_bytes()
                    for cut in ((0.6,) if way == "file" else ()) if few else (0.995, 0.6):
                        part = folder / f"{rate}-{channels}-{way}-{cut}.{ending}"
                        part.write_bytes(data[: int(len(data) * cut)])
                        yield part


def _encode(source: Path, target: Path, options: str, way: str) -> bool:
    words = ["ffmpeg", "-v", "error", "-y", "-i", str(source), *options.split()]
    if way == "file":
        return subprocess.run([*words, str(target)], capture_output=True).returncode == 0
    kinds = {"opus": "opus", "mka": "matroska", "mkv": "matroska", "wma": "asf", "aac": "adts"}
    ending = target.suffix[1:]
    form = [] if "-f" in options.split() else ["-f", kinds.get(ending, ending)]
    done = subprocess.run([*words, *form, "-"], capture_output=True)
    target.write_bytes(done.stdout)
    return done.returncode == 0 and len(done.stdout) > 100


def judge(path: Path) -> Result:
    """Decode a file both ways and compare."""
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a:0", "-f", "f32le", "-ac", "1"]
    theirs = subprocess.run([*words, "-"], capture_output=True).stdout
    rate = int(path.name.split("-")[0])
    resampled = [*words, "-ar", str(rate), "-"]
    if "opus" in path.name or "webm" in path.name:
        theirs = subprocess.run(resampled, capture_output=True).stdout
    count = len(theirs) // 4
    try:
        signal = decode(path.read_bytes(), rate)
    except Unusable as error:
        return Result(path.name, count, 0, f"{error.code}: {error.message}", "refused")
    ours = len(signal.samples)
    damage = {"damaged", "unfinished", "longer_than_header", "size_unknown"} & set(signal.flags)
    near = abs(ours - count) <= DELAY
    verdict = "equal" if ours == count else "near" if near else "flagged" if damage else "WRONG"
    if "whole" not in path.name and not damage and ours < count - DELAY:
        verdict = "WRONG"
    return Result(path.name, count, ours, " ".join(signal.flags), verdict)


def compare(few: bool) -> list[Result]:
    """Make the files, decode all of them."""
    with tempfile.TemporaryDirectory() as name:
        return [judge(path) for path in make(Path(name), few)]


def main() -> int:
    """Print a table; 1 if a file is short without a word, or a whole one is refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", action="store_true", help="about 80 files")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        print("ffmpeg is not installed")
        return 1
    begin = time.monotonic()
    results = compare(options.few)
    bad = [one for one in results if is_bad(one)]
    for one in bad:
        print(one)
    print(
        f"{len(results)} files in {time.monotonic() - begin:.0f} s:",
        dict(Counter(one.verdict for one in results)),
    )
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in results], indent=1))
    return bool(bad)


def is_bad(one: Result) -> bool:
    """Whether a file is short without a word, or whole and refused."""
    return one.verdict == "WRONG" or ("whole" in one.name and one.verdict in ("refused", "flagged"))


if __name__ == "__main__":
    sys.exit(main())
