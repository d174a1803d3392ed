"""The benchmark of scale in small, and what keeps cost and memory per clip flat."""

from __future__ import annotations

import importlib.util
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import Cache, Manifest
from affekt.cache.identity import index_files
from affekt.cache.identity.clip_index import seen
from affekt.extract.running.engines.shares import columns, ranges

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "speed" / "scale.py"


@pytest.fixture(scope="module")
def scale():
    spec = importlib.util.spec_from_file_location("benchmark_scale", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def many():
    rows = ({"id": f"c{n}", "path": f"audio/{n // 4}.wav", "start": n % 4} for n in range(20_000))
    return Manifest.from_rows(rows)


def peak(act) -> int:
    """Return the most bytes that were taken at once."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_every_step_of_the_benchmark(scale, tmp_path):
    steps = scale.Steps(tmp_path, 600, 3, 8)
    steps.draws = 50
    results = {name: getattr(steps, f"prepare_{name}")()() for name in scale.STEPS}
    assert len(results["manifest"]) == results["open"] == 600
    assert (results["dry_run"].misses, results["dry_run_again"].hits) == (600, 600)
    assert results["read_layer"].shape == (600, 8)
    X, y = results["map_layer"]
    order = {tuple(row) for row in np.asarray(X, np.float32).tolist()}
    assert order <= {tuple(row) for row in results["read_layer"].tolist()}
    assert results["logistic"].score(np.asarray(X), y) > 0.35  # labels stand with their rows
    assert results["audio_plan"].misses == 600
    assert results["audio_plan"].unknown == 600  # files that young vouch for nothing


def test_segments_of_the_index_are_looked_through_once(many, tmp_path, monkeypatch):
    looked: list[str] = []
    real = index_files._scan
    monkeypatch.setattr(index_files, "_scan", lambda *args: looked.append(args[1]) or real(*args))
    cache = Cache(tmp_path / "c")
    for start in range(0, 200, 20):
        cache.record(seen(many, n, f"{n:064x}", None) for n in range(start, start + 20))
    cache.clips.refresh()
    assert len(looked) == len(set(looked)) == 10


def test_a_column_that_a_table_has_not_takes_no_memory(many):
    assert (
        peak(lambda: [many[name] for name in ("text", "speaker", "end") for _ in range(50)]) < 1e5
    )


def test_a_driver_has_no_row_of_names_for_each_clip(many):
    positions = np.arange(len(many))

    def hand_out() -> None:
        order, bounds = ranges(many, positions, "audio", 500)
        for start, stop in bounds:
            columns(many, order[start:stop])

    assert peak(hand_out) / len(many) < 150  # bytes: some arrays of numbers, and one share
