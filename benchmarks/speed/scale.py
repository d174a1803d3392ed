"""What each step costs from ten thousand clips to a million: time, memory, disk.

    python benchmarks/speed/scale.py [--counts 10000 100000 1000000] [--layers 25] [--dim 32]
                               [--work FOLDER] [--out FILE]

A corpus of texts and an encoder that computes nothing go through everything that affekt does to a
corpus; what is left is the cost of keeping books, per clip. `--dim 1024` has rows of the size of a
large speech encoder, where the disk has room for 51 KB a clip. Each step runs in a process of its
own and tells its processor time (a loaded machine does not change it), its wall time and the most
memory that it had. With up to 20,000 clips, where a step takes a second or less, everything is done
five times, and the median counts. The folder is removed at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

SPEAKERS, SEGMENTS = 500, 200  # speakers of a corpus; segments of one recording
LABELS = np.array(["negative", "neutral", "positive"])
LAYER = 12


def encoder(layers: int, dim: int) -> Any:
    """Return an encoder whose rows are noise by a digest of the text, with a hint of its label."""
    from affekt.extract import Backend, Encoder, Pooled

    class Synthetic(Backend):
        name, modality, batch_clips = "synthetic", "text", 512

        def embed(self, inputs: Any) -> list[Pooled]:
            return [Pooled(self.row(text), 1) for text in inputs]

        def row(self, text: str) -> np.ndarray:
            seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
            number = text.rpartition(" ")[2]
            hint = int(number) % 3 - 1 if number.isdecimal() else 0
            one = NOISE[seed % len(NOISE)] + np.float32(0.3 * hint)
            return np.ascontiguousarray(np.broadcast_to(one, (layers, dim)))

    NOISE = np.random.default_rng(0).standard_normal((4096, dim), np.float32)
    Synthetic.n_layers, Synthetic.dim = layers, dim
    return Encoder.of(Synthetic())


class Steps:
    """The steps, in order; each opens what it needs."""

    draws = 1000  # of bootstrap and permutation

    def __init__(self, folder: Path, count: int, layers: int, dim: int) -> None:
        self.folder, self.count, self.layers, self.dim = folder, count, layers, dim
        self.table, self.cache = folder / "clips.csv", folder / "cache"
        self.packed = folder / "packed.h5"

    def clips(self) -> Any:
        """Read the manifest."""
        from affekt.cache import Manifest

        return Manifest.read(self.table)

    def space(self) -> Any:
        """Open the cache, and the space."""
        from affekt.cache import Cache

        return Cache(self.cache).spaces()[0]

    def prepare_write(self) -> Callable[[], Any]:
        """Write the table."""

        def write() -> None:
            with self.table.open("w") as file:
                file.write("id,text,label,speaker,split\n")
                for n in range(self.count):
                    split = ("train", "train", "train", "dev", "test")[n % SPEAKERS % 5]
                    file.write(f"c{n},utterance {n},{LABELS[n % 3]},s{n % SPEAKERS},{split}\n")

        return write

    def prepare_manifest(self) -> Callable[[], Any]:
        """Read the table, with all checks."""
        return self.clips

    def prepare_dry_run(self) -> Callable[[], Any]:
        """Plan, with nothing stored."""
        from affekt.cache import Cache
        from affekt.extract import plan

        clips, made = self.clips(), encoder(self.layers, self.dim)
        return lambda: plan(clips, Cache(self.cache), made, store_dtype="float16")

    def prepare_extract(self) -> Callable[[], Any]:
        """Embed and store everything, in this process."""
        from affekt.cache import Cache
        from affekt.extract import extract

        clips, made = self.clips(), encoder(self.layers, self.dim)
        return lambda: extract(clips, Cache(self.cache), made, store_dtype="float16")

    def prepare_compact(self) -> Callable[[], Any]:
        """Merge the shards that extract left small."""
        space = self.space()
        return space.compact

    def prepare_open(self) -> Callable[[], Any]:
        """Open the cache and count its rows."""
        from affekt.cache import Cache  # noqa: F401 - imported before the clock runs

        return lambda: len(self.space())

    def prepare_dry_run_again(self) -> Callable[[], Any]:
        """Plan, with everything stored."""
        return self.prepare_dry_run()

    def prepare_read_layer(self) -> Callable[[], Any]:
        """Read one layer of every clip, joined by content."""
        from affekt.cache import Cache

        clips = self.clips()
        cache = Cache(self.cache)
        return lambda: cache.read(cache.spaces()[0], clips, layers=LAYER % self.layers)

    def prepare_pack(self) -> Callable[[], Any]:
        """Write a packed file."""
        from affekt.cache import Cache
        from affekt.cache.care import pack

        return lambda: pack(Cache(self.cache), self.packed)

    def mapped(self) -> tuple[np.ndarray, np.ndarray]:
        """Map a layer of the packed file, and its labels in the file's order."""
        from affekt.cache import Cache, row_key, text_digest

        clips, cache = self.clips(), Cache(self.packed)
        space = cache.spaces()[0]
        number = {
            row_key(space.key, "text", text_digest(text))[:24]: n % 3
            for n, text in enumerate(clips["text"])
        }
        labels = LABELS[[number[key[:24]] for key in space.row_keys()]]
        return space.memory_map(LAYER % self.layers), labels

    def prepare_map_layer(self) -> Callable[[], Any]:
        """Map a layer of the packed file, every vector checked."""
        return self.mapped

    def prepare_logistic(self) -> Callable[[], Any]:
        """Train LogisticHead on the mapped layer."""
        from affekt.classify import LogisticHead

        X, y = self.mapped()
        return lambda: LogisticHead(tol=1e-3).fit(X, y)

    def prepare_mlp(self) -> Callable[[], Any]:
        """Train MLPHead on the mapped layer, two epochs."""
        from affekt.classify import MLPHead

        X, y = self.mapped()
        return lambda: MLPHead(max_epochs=2, batch_size=512, random_state=0).fit(X, y)

    def trained(self, head: str, pairs: list[str]) -> Callable[[], Any]:
        """Do what `affekt train` does: read the manifest, train on the cache, predict test."""
        from affekt.classify.experiments.members.train import train_model

        return lambda: train_model(
            self.table, self.cache, "valence", spaces=[self.space().name], head=head, pairs=pairs,
            layers=str(LAYER % self.layers), scheme="column",
        )  # fmt: skip

    def prepare_train_logistic(self) -> Callable[[], Any]:
        """Train and judge LogisticHead from the folder of the cache."""
        return self.trained("logistic", ["tol=0.001"])

    def prepare_train_mlp(self) -> Callable[[], Any]:
        """Train and judge MLPHead from the folder of the cache, two epochs."""
        return self.trained("mlp", ["max_epochs=2", "batch_size=512"])

    def prepare_compare(self) -> Callable[[], Any]:
        """Compare three members and two ensembles on every clip, with 1,000 draws."""
        from affekt.classify import Predictions, Task, compare

        clips = self.clips()
        rng = np.random.default_rng(0)
        truth = np.arange(len(clips))[:, None] % 3 == np.arange(3)
        members = {}
        for name, weight in (("a", 0.5), ("b", 1.0), ("c", 1.5)):
            raw = rng.random((len(clips), 3)) + weight * truth
            members[name] = Predictions(clips.ids, LABELS, raw / raw.sum(axis=1, keepdims=True))
        task = Task.from_labels(LABELS.tolist())
        return lambda: compare(
            members, clips, task, n_resamples=self.draws, audit_audio=False, by=()
        )

    def prepare_audio_plan(self) -> Callable[[], Any]:
        """Plan for recordings whose contents the cache knows: a stat and a look for each."""
        from affekt.cache import Cache, Manifest
        from affekt.cache.identity.clip_index import seen
        from affekt.extract import Encoder, plan

        audio = self.folder / "audio"
        audio.mkdir(exist_ok=True)
        names = [f"{n}.wav" for n in range(-(-self.count // SEGMENTS))]
        for name in names:
            (audio / name).write_bytes(b"RIFF")
        with (self.folder / "audio.csv").open("w") as file:
            file.write("id,path,start,end\n")
            for n in range(self.count):
                start = n % SEGMENTS
                file.write(f"c{n},audio/{names[n // SEGMENTS]},{start},{start + 1}\n")
        clips = Manifest.read(self.folder / "audio.csv")
        cache = Cache(self.folder / "audio.cache")
        for begin in range(0, self.count, 20_000):
            some = range(begin, min(begin + 20_000, self.count))
            status = [(audio / names[n // SEGMENTS]).stat() for n in some]
            cache.record(
                seen(clips, n, f"{n:064x}", one) for n, one in zip(some, status, strict=True)
            )
        return lambda: plan(clips, Cache(cache.path), Encoder("spectral"))


STEPS = [name.removeprefix("prepare_") for name in vars(Steps) if name.startswith("prepare_")]


def one_step(step: str, folder: Path, count: int, layers: int, dim: int) -> dict[str, Any]:
    """Do a step in this process, and measure it."""
    act = getattr(Steps(folder, count, layers, dim), f"prepare_{step}")()
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "step": step,
        "clips": count,
        "cpu_seconds": round(cpu, 3),
        "wall_seconds": round(wall, 3),
        "us_per_clip": round(1e6 * cpu / count, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def in_process(step: str, folder: Path, count: int, layers: int, dim: int) -> dict[str, Any]:
    """Do a step in a process of its own."""
    words = ["--step", step, "--work", str(folder), "--counts", str(count)]
    words += ["--layers", str(layers), "--dim", str(dim)]
    done = subprocess.run(
        [sys.executable, __file__, *words], stdout=subprocess.PIPE, check=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def measure(count: int, layers: int, dim: int, work: Path | None, steps: list[str]) -> list[dict]:
    """Do all steps for one number of clips, in a folder that is removed again."""
    need = count * layers * dim * 2 * 4  # shards, merged shards beside them, a packed file
    folder = Path(tempfile.mkdtemp(prefix="affekt-scale-", dir=work))
    try:
        if shutil.disk_usage(folder).free < 1.2 * need:
            raise SystemExit(f"{folder} has no room for {need / 1e9:.1f} GB; give a smaller --dim")
        rows = []
        for step in steps:
            rows.append(in_process(step, folder, count, layers, dim))
            sys.stderr.write(json.dumps(rows[-1]) + "\n")
        return rows
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--layers", type=int, default=25)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        measured = one_step(given.step, given.work, given.counts[0], given.layers, given.dim)
        print(json.dumps(measured))
        return
    rows: list[dict] = []
    for count in given.counts:
        again = 5 if count <= 20_000 else 1
        shape = (count, given.layers, given.dim)
        rounds = [measure(*shape, given.work, given.steps) for _ in range(again)]
        for same in zip(*rounds, strict=True):
            rows.append(sorted(same, key=itemgetter("cpu_seconds"))[again // 2])
        result = {"layers": given.layers, "dim": given.dim, "dtype": "float16", "steps": rows}
        if given.out:
            given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
