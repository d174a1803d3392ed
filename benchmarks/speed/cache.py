"""How fast the cache is, in ratios taken in one run.

    python benchmarks/speed/cache.py [--rows 83545] [--opened 1000000] [--work FOLDER]

Reads are from files that the system has in memory, as they are from the second read on. Each ratio
alternates its two sides and compares their best times.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import h5py
import numpy as np
from affekt.cache import Cache, Manifest, Space, row_key, text_digest
from affekt.cache.care import pack

from tests.support.cache_toy import make_spec
from tests.support.memory import READS, memory_of

LAYERS, DIM = 25, 1024


def best(*sides: Callable[[], object], rounds: int = 5) -> list[float]:
    """Return the best wall time of each side in seconds; the sides take turns."""
    times = [float("inf")] * len(sides)
    for _ in range(rounds):
        for i, side in enumerate(sides):
            started = time.perf_counter()
            side()
            times[i] = min(times[i], time.perf_counter() - started)
    return times


def show(name: str, **values: object) -> None:
    """Print one result as a line of JSON."""
    plain = {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
    sys.stdout.write(json.dumps({"benchmark": name} | plain) + "\n")
    sys.stdout.flush()


def rows_of(count: int, layers: int, dim: int, seed: int = 0) -> np.ndarray:
    """Return a few rows like embeddings: repeated by the callers, as their values do not matter."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, layers, dim), np.float32)


def corpus(count: int) -> Manifest:
    """Return clips that have only a text."""
    return Manifest.from_rows({"id": f"c{i}", "text": f"t{i}"} for i in range(count))


def store(space: Space, clips: Manifest, pool: np.ndarray, **options) -> float:
    """Store a row for each clip; return the seconds it took."""
    keys = [row_key(space.key, "text", text_digest(text)) for text in clips["text"]]
    started = time.perf_counter()
    with space.writer(**options) as writer:
        for i, key in enumerate(keys):
            writer.add(key, f"c{i}", pool[i % len(pool)], 50, 1.0)
    return time.perf_counter() - started


def one_layer(work: Path, count: int) -> None:
    """Read one layer of all rows: packed, compacted and fresh shards, against what people have."""
    pool = rows_of(512, LAYERS, DIM)
    cache = Cache(work / "layers")
    space = cache.create(make_spec(layers=LAYERS, dim=DIM, store_dtype="float16"))
    clips = corpus(count)
    seconds = store(space, clips, pool)
    size = count * LAYERS * DIM * 2
    show("store", rows=count, gigabytes=size / 1e9, gigabytes_per_second=size / 1e9 / seconds)
    keys = [key or "" for key in cache.keys(space, clips)]
    space.compact()
    packed = Cache(pack(cache, work / "packed.h5")).spaces()[0]
    folder = work / "npy"
    folder.mkdir()
    for i in range(count):  # one layer per file: the least that such a folder can hold
        np.save(folder / f"c{i}.npy", pool[i % 512, 12].astype(np.float16))

    order = packed.row_keys()
    with h5py.File(work / "packed.h5") as file:
        start = file[f"{packed.name}/embeddings"].id.get_offset()
    layer_bytes = count * DIM * 2

    def plain() -> np.ndarray:
        with (work / "packed.h5").open("rb", buffering=0) as file:
            out = np.empty((count, DIM), np.float16)
            os.preadv(file.fileno(), [memoryview(out).cast("B")], start + 12 * layer_bytes)
        return out

    def by_h5py() -> np.ndarray:
        with h5py.File(work / "packed.h5", locking=False) as file:
            return file[f"{packed.name}/embeddings"][12]

    def npy() -> np.ndarray:
        return np.stack([np.load(folder / f"c{i}.npy") for i in range(count)])

    def from_pack() -> np.ndarray:
        return packed.layer(12)

    def by_key() -> np.ndarray:
        return packed.read(order, [12], "float16")[0]

    def by_clip() -> np.ndarray:
        return packed.cache.read(packed, clips, layers=12, dtype="float16")

    def from_shards() -> np.ndarray:
        return space.read(keys, [12], "float16")[0]

    def mapped() -> np.ndarray:
        return np.array(packed.memory_map(12))

    assert np.array_equal(from_pack(), plain())
    assert np.array_equal(by_key()[:, 0], plain())
    assert np.array_equal(by_clip(), npy())
    assert np.array_equal(from_shards()[:, 0], npy())
    sides = (plain, by_h5py, from_pack, from_shards, mapped, by_key, by_clip)
    times = best(*sides, rounds=7)
    [slow] = best(npy, rounds=2)
    names = ("plain", "h5py", "packed", "shards", "memory_map", "packed_by_key", "packed_by_clip")
    show(
        "one layer",
        **{f"{name}_ms": seconds * 1e3 for name, seconds in zip(names, times, strict=True)},
        npy_ms=slow * 1e3,
        packed_vs_npy=slow / times[2],
        shards_vs_npy=slow / times[3],
        by_clip_vs_npy=slow / times[6],
        verified_vs_plain=times[0] / times[2],
        verified_vs_h5py=times[1] / times[2],
    )
    some = np.random.default_rng(0).integers(0, count, 32)
    few = [keys[i] for i in some]
    layers = range(LAYERS)
    times = best(lambda: packed.read(few, layers), lambda: space.read(few, layers), rounds=9)
    show("32 random rows, all layers", packed_ms=times[0] * 1e3, shards_ms=times[1] * 1e3)


def queued() -> Callable[[], None]:
    """Return a wait for the next clip of a device that computes it while this one is stored."""
    ready = time.perf_counter()

    def wait() -> None:
        nonlocal ready
        ready += 0.001
        time.sleep(max(0.0, ready - time.perf_counter()))

    return wait


def asked() -> Callable[[], None]:
    """Return a wait for a device that starts with a clip when it is asked for it."""
    return lambda: time.sleep(0.001)


def commits(work: Path, count: int = 16_384) -> None:
    """Compare an encoder that takes 1 ms a clip with and without storing its rows.

    `asked` counts every step of the processor, which wakes up with cold caches a thousand times a
    second: `a_list_adds` is what it costs there to append each row to a list, and nothing else.
    """
    pool = rows_of(64, LAYERS, DIM)
    spec = make_spec(layers=LAYERS, dim=DIM, store_dtype="float16")
    keys = [row_key(spec.key, "text", text_digest(f"t{i}")) for i in range(count)]
    turn = iter(range(99))

    def encode(start: Callable, take: Callable | None = None) -> None:
        wait = start()
        for i, key in enumerate(keys):
            wait()
            if take is not None:
                take(key, f"c{i}", pool[i % 64], 50, 1.0)

    def into_a_list(start: Callable) -> None:
        kept: list[tuple] = []
        encode(start, lambda *row: kept.append(row))

    def added(start: Callable) -> None:
        with Cache(work / f"commit{next(turn)}").create(spec).writer() as writer:
            encode(start, partial(writer.add, copy=False))

    for start in (queued, asked):
        sides = (encode, into_a_list, added)
        alone, *others = best(*(partial(side, start) for side in sides), rounds=2)
        shares = dict(zip(("a_list", "writer"), others, strict=True))
        shares = {f"{name}_adds": seconds / alone - 1 for name, seconds in shares.items()}
        show("commit", encoder=start.__name__, clips=count, encoder_s=alone, **shares)


def million(work: Path, count: int = 1_000_000) -> None:
    """Open a cache of a million rows, and read a few."""
    cache = Cache(work / "million")
    space = cache.create(make_spec(layers=1, dim=16))
    clips = corpus(count)
    store(space, clips, rows_of(64, 1, 16), rows=1024)
    some = clips.select(range(0, count, count // 32))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def opened() -> None:
        fresh = Cache(cache.path)
        assert len(fresh.space(space.name)) == count
        fresh.read(space.name, some)

    [seconds] = best(opened, rounds=3)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    shards = len(space.index.refresh().shards)
    show("open", rows=count, shards=shards, seconds=seconds, megabytes=float(grown))


def memory(work: Path) -> None:
    """Show what reads of the packed file and of the folder take beside what was asked for."""
    for where in ("packed.h5", "layers"):
        for what in READS:
            asked, grown = memory_of(work / where, what)
            show("memory", file=where, what=what, asked_mb=asked / 1e6, grown_mb=grown / 1e6)


def main() -> None:
    """Run all benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=83_545, help="rows of the large space")
    parser.add_argument("--stored", type=int, default=16_384, help="clips that an encoder takes")
    parser.add_argument("--opened", type=int, default=1_000_000, help="rows of the cache to open")
    parser.add_argument("--work", type=Path, help="a folder with room for 10 GB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        work = Path(name)
        commits(work, options.stored)
        one_layer(work, options.rows)
        memory(work)
        million(work, options.opened)


if __name__ == "__main__":
    main()
