"""What a whole extraction costs beyond its encoder: decoding, keys, commits.

Files (16 kHz WAV and 44.1 kHz FLAC, in turn) are extracted into a fresh cache; beside it, the same
samples, already in memory, go through the same encoder and nowhere. Both sides take turns; the
median of the rounds' ratios counts. The encoder is loaded before; the canary, which is computed
once per extraction whatever its size, is timed by itself and taken off.

    python benchmarks/speed/pipeline.py --family wav2vec2-base --items 24 --rounds 3 -o FILE
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import soundfile
from affekt.cache import Cache, Manifest
from affekt.extract import Encoder, extract
from affekt.extract.inputs.decode import decode
from peaks import machine, peaks

from extract import SPEECH, add_options, build, clips


def main() -> None:
    """Run it; print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--family", choices=list(SPEECH), default="wav2vec2-base")
    add_options(parser, items=24)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = run(Path(name), given)
    text = json.dumps(result, indent=1)
    if given.output:
        given.output.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


def run(work: Path, given: argparse.Namespace) -> dict:
    """Time both sides."""
    now = cpu_seconds if given.clock == "cpu" else time.perf_counter
    (work / "model").mkdir()
    build(given.family, work / "model", small=given.size == "small")
    manifest = corpus(work, given.items)
    encoder = Encoder(str(work / "model"), device=given.device)
    whole = [manifest.file(i).read_bytes() for i in range(len(manifest))]
    samples = [decode(data, 16000, None, None).samples for data in whole]
    encoder.embed(samples[:2])
    extract(manifest.select([0]), Cache(work / "first"), encoder)  # loads, and makes the canary
    bare, full, canary = [], [], []
    for turn in range(given.rounds):
        started = now()
        for sample in samples:
            encoder.embed([sample])
        bare.append(now() - started)
        started = now()
        encoder.canary()
        canary.append(now() - started)
        started = now()
        space = extract(manifest, Cache(work / f"cache{turn}"), encoder)
        full.append(now() - started)
        assert len(space) == len(samples)
    device = "cpu" if given.device == "auto" else given.device
    return {
        "machine": machine(device),
        "peaks": peaks(device),
        "clock": given.clock,
        "family": given.family,
        "audio seconds": round(sum(map(len, samples)) / 16000, 1),
        "encoder alone, s": round(statistics.median(bare), 3),
        "extract, s": round(statistics.median(full), 3),
        "canary (once per extraction), s": round(statistics.median(canary), 3),
        "added by decoding and storing": round(
            statistics.median((f - c) / b for b, f, c in zip(bare, full, canary, strict=True)) - 1,
            4,
        ),
    }


def corpus(work: Path, count: int) -> Manifest:
    """Write the files; half of them have to be resampled."""
    rows = []
    for i, clip in enumerate(clips(count)):
        rate, kind = ((16000, "wav"), (44100, "flac"))[i % 2]
        points = np.arange(0, len(clip), 16000 / rate)
        path = work / f"c{i}.{kind}"
        soundfile.write(path, np.interp(points, np.arange(len(clip)), clip), rate)
        rows.append({"id": f"c{i}", "path": path.name})
    return Manifest.from_rows(rows, root=work)


def cpu_seconds() -> float:
    """Give the CPU seconds of this process and its children, those that still run included."""
    ended = os.times()
    total = ended.user + ended.system + ended.children_user + ended.children_system
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


if __name__ == "__main__":
    main()
