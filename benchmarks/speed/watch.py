"""How fast an edit is answered: `affekt run --watch` against a new `affekt run` for each edit.

    python benchmarks/speed/watch.py [MANIFEST] [--edits 10]

Each edit changes C of a logistic head. Measured is the time from the save to the table on stdout,
of both in turn; the ratio of the medians is what counts, since the machine may be busy with other
work. Without MANIFEST a synthetic corpus of 1,080 clips is made.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from affekt.classify.experiments.demo.corpus import write_corpus

RECIPE = """\
manifest: {manifest}
task: valence
encoders: {{speech: spectral, text: ngram}}
split: {{scheme: speaker, test_size: 0.2, dev_size: 0.15, random_state: 0}}
members:
  speech-lr: {{head: logistic, on: speech, C: {C}}}
  speech-mlp: {{head: mlp, on: speech}}
  text-lr: {{head: logistic, on: text, C: 0.1}}
ensembles: [mean, max]
report: {name}
"""
COMMAND = [sys.executable, "-c", "from affekt.classify.cli import main; main()", "run"]


def main() -> None:
    """Measure, and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", nargs="?", type=Path)
    parser.add_argument("--edits", type=int, default=10)
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        manifest = asked.manifest or write_corpus(home / "corpus", voices=72)
        warm, cold = measure(home, manifest.resolve(), asked.edits)
    medians = [statistics.median(times) for times in (warm, cold)]
    for name, seconds in zip(("affekt run --watch", "affekt run"), medians, strict=True):
        print(f"{name}: {seconds:.2f} s from save to table (median of {asked.edits})")
    ratio = medians[1] / medians[0]
    print(f"ratio: {ratio:.1f}")
    if asked.output:
        found = {"watching": medians[0], "new_run": medians[1], "ratio": ratio}
        found |= {"edits": asked.edits, "times": warm}
        asked.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measure(home: Path, manifest: Path, edits: int) -> tuple[list[float], list[float]]:
    """Return seconds from save to table: while watching, and of a new process for each edit."""

    def save(name: str, C: float) -> Path:
        path = home / f"{name}.yaml"
        path.write_text(RECIPE.format(manifest=manifest, C=C, name=name), encoding="utf-8")
        return path

    first = save("cold", 1.0)
    subprocess.run([*COMMAND, str(first)], check=True, capture_output=True)
    watched = save("watched", 1.0)
    watching = subprocess.Popen(
        [*COMMAND, "--watch", str(watched)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert watching.stderr is not None
    warm, cold = [], []
    try:
        _until(watching.stdout, "Report: ")
        _until(watching.stderr, "Watching ")
        for edit in range(edits):
            C = round(0.01 * 1.3 ** (edit + 1), 5)
            begin = time.perf_counter()
            save("watched", C)
            _until(watching.stdout, "system ")
            warm.append(time.perf_counter() - begin)
            _until(watching.stdout, "Report: ")
            _until(watching.stderr, "Watching ")
            begin = time.perf_counter()
            subprocess.run([*COMMAND, str(save("cold", C))], check=True, capture_output=True)
            cold.append(time.perf_counter() - begin)
        watching.send_signal(signal.SIGINT)
        watching.wait(timeout=60)
    finally:
        watching.kill()
    return warm, cold


def _until(stream, start: str) -> None:
    for line in stream:
        if re.match(start, line):
            return
    raise SystemExit("the watching process has ended")


if __name__ == "__main__":
    main()
